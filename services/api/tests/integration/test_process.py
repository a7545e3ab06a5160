"""The command `task-api` as a real process without a broker: starting, serving, wrong settings, stopping."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import asyncpg
import httpx2
import pytest

from task_api.deadlines import Deadlines
from task_api.process import run_api
from task_api.settings import ApiSettings
from task_runtime import ExitCode
from task_store import SCHEMA_REVISION

NO_BROKER = "amqp://guest:hunter2@127.0.0.1:1/"
BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tasks'::regclass"
NO_DATABASE = "postgresql://127.0.0.1:1/tasks"
SECONDS = 30


class Process:
    """One process of `task-api`, and what it has written to stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for a line of this event and return it."""
        async with asyncio.timeout(SECONDS):
            while line := (await self.process.stderr.readline()).decode():
                self.lines.append(line)
                if line.startswith("{") and (fields := json.loads(line))["event"] == name:
                    return fields
        raise AssertionError(f"ended without {name}: {self.lines}")

    async def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Send the signal, wait for the end, and return the exit code and all of stderr."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(SECONDS):
            self.lines.append((await self.process.stderr.read()).decode())
            return await self.process.wait(), "".join(self.lines)


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(database_url: str) -> AsyncIterator[Start]:
    """Start `task-api` on a free port, with environment variables by their names. It is killed after the test."""
    started: list[Process] = []

    async def begin(*arguments: str, **variables: str) -> Process:
        given = {"TASK_DATABASE_URL": database_url, "TASK_BROKER_URL": NO_BROKER, "TASK_API_PORT": "0", **variables}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "task_api", *arguments),
            env={**os.environ, "TASK_LOG_FORMAT": "json", **given},
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(Process(process))
        return started[-1]

    yield begin
    for one in started:
        if one.process.returncode is None:
            one.process.kill()
            await one.process.wait()


@pytest.fixture
async def empty_database(sql: asyncpg.Connection) -> None:
    await sql.execute("DROP SCHEMA public CASCADE")
    await sql.execute("CREATE SCHEMA public")


async def test_it_brings_the_schema_up_to_date_serves_without_a_broker_and_stops_with_0(
    start: Start, empty_database: None
) -> None:
    process = await start()
    url = (await process.event("listening"))["url"]
    async with httpx2.AsyncClient(base_url=url) as client:
        created = await client.post("/api/v1/tasks", json={"name": "a task"})
        read = await client.get(created.headers["location"])

    code, text = await process.end(signal.SIGTERM)

    assert (created.status_code, read.json()) == (201, created.json())
    assert code == 0
    assert "process_started" in text
    assert "hunter2" not in text
    assert "Traceback" not in text


async def test_several_may_start_on_an_empty_database_at_once(start: Start, empty_database: None) -> None:
    processes = [await start() for _ in range(2)]

    for process in processes:
        url = (await process.event("listening"))["url"]
        async with httpx2.AsyncClient(base_url=url) as client:
            assert (await client.get("/health/ready")).status_code == 200


async def test_the_check_tells_a_ready_api_from_none(start: Start) -> None:
    process = await start()
    port = (await process.event("listening"))["url"].rpartition(":")[2]

    ready = await start("check", TASK_API_PORT=port, TASK_API_HOST="0.0.0.0")
    line = (await ready.process.stdout.read()).decode()
    none = await start("check", TASK_API_PORT="1")

    assert (await ready.end())[0] == 0
    assert line.startswith("degraded; ")
    assert "no live worker serves default" in line
    assert (await none.end())[0] == 1


async def test_what_was_asked_before_the_signal_is_answered(start: Start, sql: asyncpg.Connection, until: Any) -> None:
    process = await start()
    url = (await process.event("listening"))["url"]
    async with httpx2.AsyncClient(base_url=url, timeout=SECONDS) as client:
        async with sql.transaction():
            await sql.execute("LOCK TABLE tasks")
            asked = asyncio.create_task(client.post("/api/v1/tasks", json={"name": "a task"}))
            await until(partial(sql.fetchval, BLOCKED))
            process.process.send_signal(signal.SIGTERM)
            await process.event("shutdown_requested")
        answer = await asked

    assert answer.status_code == 201
    assert (await process.end())[0] == 0


async def test_what_is_not_http_is_a_problem_too(start: Start) -> None:
    process = await start()
    port = int((await process.event("listening"))["url"].rpartition(":")[2])

    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"NONSENSE\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == 400


async def test_only_a_host_of_its_own_is_answered(start: Start) -> None:
    process = await start(TASK_API_ALLOWED_HOSTS="tasks.example.org")
    port = int((await process.event("listening"))["url"].rpartition(":")[2])

    async def status(*heads: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = ["GET /api/v1/tasks HTTP/1.1", *heads, "Connection: close"]
        writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    async with asyncio.timeout(SECONDS):
        assert await status("Host: evil.example") == 421
        assert await status("Host: tasks.example.org") == 200
        assert await status(f"Host: 127.0.0.1:{port}") == 200
        assert await status() == 400
        assert await status("Host: 127.0.0.1", "host: 127.0.0.1") == 400


async def test_callers_are_served_beside_more_silent_connections_than_there_are_files(start: Start) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))  # the process inherits it
        process = await start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    url = (await process.event("listening"))["url"]
    address = ("127.0.0.1", int(url.rpartition(":")[2]))

    answers = []
    with ExitStack() as silent:
        for _ in range(10):
            for _ in range(40):
                silent.enter_context(socket.create_connection(address, timeout=SECONDS))
            async with httpx2.AsyncClient(base_url=url, timeout=SECONDS) as client:
                answers.append(await client.post("/api/v1/tasks", json={"name": "a task"}))
        _, text = await process.end(signal.SIGTERM)

    assert {answer.status_code for answer in answers} == {201}
    assert text.count("connections_capped") == 1
    assert "Traceback" not in text


async def test_it_can_be_stopped_while_it_waits_for_the_database(start: Start) -> None:
    process = await start(TASK_DATABASE_URL=NO_DATABASE)
    await process.event("waiting_for_database")

    assert (await process.end(signal.SIGINT))[0] == 0


async def test_a_database_that_never_answers_is_one_line_and_exit_code_1() -> None:
    settings = ApiSettings(database_url=NO_DATABASE, broker_url=NO_BROKER, port=0)

    code = await run_api(settings, Deadlines(database_seconds=0.1))

    assert code is ExitCode.FAILED


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TASK_BROKER_URL": "memory://"}, "TASK_BROKER_URL: memory://"),
        ({"TASK_API_PORT": "nine"}, "TASK_API_PORT: input should be a valid integer"),
        ({"TASK_DATABASE_URL": "mysql://h/t"}, "TASK_DATABASE_URL: must begin with postgresql://"),
        (
            {"TASK_DATABASE_URL": "postgresql://me:p@ss@db/t"},
            "port 5432, database t, user me: a special character is not",
        ),
        ({"TASK_DATABASE_URL": "postgresql://db/t?channel_binding=require"}, "channel_binding=require cannot be had"),
        (
            {"TASK_DATABASE_URL": "postgresql://me:p@no-such-host.invalid/t"},
            "TASK_DATABASE_URL: host no-such-host.invalid, ",
        ),
        ({"TASK_API_HOST": "203.0.113.1"}, "TASK_API_HOST: cannot listen on 203.0.113.1"),
        ({"TASK_API_MIGRATE": "false"}, f"the database has no schema, this version needs {SCHEMA_REVISION}: run"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
async def test_what_is_set_up_wrongly_is_one_line_and_exit_code_2(
    start: Start, empty_database: None, variables: dict[str, str], words: str
) -> None:
    code, text = await (await start(**variables)).end()

    assert code == 2
    assert text.startswith("error: ")
    assert text.count("\n") == 1, text
    assert words in text


async def test_a_port_in_use_is_one_line_and_exit_code_2(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, text = await (await start("--port", str(other.getsockname()[1]))).end()

    assert code == 2
    assert text.startswith("error: TASK_API_PORT: port ")


async def test_a_schema_of_a_later_version_is_only_a_warning(start: Start, sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE alembic_version SET version_num = '9999'")

    process = await start()
    await process.event("listening")

    assert "the schema (9999) is newer" in "".join(process.lines)


@pytest.mark.parametrize("migrate", ["true", "false"])
async def test_a_schema_of_before_the_first_release_is_one_line_and_exit_code_2(
    migrate: str, start: Start, sql: asyncpg.Connection
) -> None:
    await sql.execute("UPDATE alembic_version SET version_num = '0000'")

    code, text = await (await start(TASK_API_MIGRATE=migrate)).end()

    assert (code, text.count("\n")) == (2, 1)
    assert text.startswith("error: the database holds the schema 0000 of a version before the first release")
