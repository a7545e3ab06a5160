"""The command `task-worker`: how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from task_contracts import Task
from task_runtime import Misconfigured
from task_store import SCHEMA_REVISION
from task_worker.process import run_worker
from task_worker.settings import WorkerSettings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Command = Callable[..., Awaitable[asyncio.subprocess.Process]]

NO_BROKER = "amqp://guest:secret-of-the-broker@127.0.0.1:1/"


async def written_by(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(60):
        _, written = await process.communicate()
    return written.decode()


async def test_it_runs_tasks_without_a_broker_and_ends_in_order_when_asked_to(
    command: Command, create: Create, ended: Ended, table: Any
) -> None:
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)
    process = await command()
    row = await ended((await create(payload={"n": 1})).id)
    process.send_signal(signal.SIGTERM)
    written = await written_by(process)

    assert row["result"] == {"n": 1}
    assert process.returncode == 0
    assert f"schema revision  {SCHEMA_REVISION}" in written
    assert "handlers         echo" in written
    assert "warning: no handlers beyond the built-in ones" in written
    assert "secret-of-the-broker" not in written
    assert [worker["dead_at"] is None for worker in await table.fetch("SELECT dead_at FROM workers")] == [False]


async def test_after_so_many_attempts_it_drains_and_ends_with_exit_code_0(
    command: Command, create: Create, ended: Ended, table: Any
) -> None:
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)
    process = await command(TASK_WORKER_MAX_TASKS="3", TASK_LOG_FORMAT="json")
    rows = [await ended((await create(payload={"n": number})).id) for number in range(3)]
    written = await written_by(process)

    (line,) = [orjson.loads(line) for line in written.splitlines() if '"recycling"' in line]
    assert process.returncode == 0
    assert (line["reason"], line["attempts"], line["limit"], line["level"]) == ("tasks", 3, 3, "info")
    assert [row["status"] for row in rows] == ["COMPLETED"] * 3
    assert '"drain_ended"' in written
    assert [worker["dead_at"] is None for worker in await table.fetch("SELECT dead_at FROM workers")] == [False]


async def test_above_so_much_memory_it_drains_and_ends_with_exit_code_0(command: Command, table: Any) -> None:
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)
    process = await command(TASK_WORKER_MAX_MEMORY_MB="20", TASK_WORKER_MAX_TASKS="", TASK_LOG_FORMAT="json")
    written = await written_by(process)

    (line,) = [orjson.loads(line) for line in written.splitlines() if '"recycling"' in line]
    assert process.returncode == 0
    assert line["reason"] == "memory"
    assert line["memory_mb"] > line["limit"] >= 20


async def test_a_worker_that_finds_no_schema_waits_for_it(
    command: Command, create: Create, ended: Ended, table: Any
) -> None:
    process = await command(TASK_LOG_FORMAT="json")
    async with asyncio.timeout(60):
        first = orjson.loads(await process.stderr.readline())
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)
    row = await ended((await create(payload={"n": 1})).id)
    process.send_signal(signal.SIGTERM)
    await written_by(process)

    assert (first["event"], first["level"]) == ("waiting_for_schema", "warning")
    assert row["result"] == {"n": 1}
    assert process.returncode == 0


async def test_a_worker_that_waits_for_a_schema_can_be_stopped(command: Command) -> None:
    process = await command()
    async with asyncio.timeout(60):
        await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    await written_by(process)

    assert process.returncode == 0


async def test_a_database_that_stays_without_a_schema_is_misconfigured(database_url: str) -> None:
    settings = WorkerSettings(database_url=database_url, broker_url=NO_BROKER)

    with pytest.raises(Misconfigured, match=f"the database has no schema, this version needs {SCHEMA_REVISION}"):
        await run_worker(settings, database_seconds=0.1)


async def test_a_schema_of_before_the_first_release_is_one_line_and_exit_code_2(command: Command, table: Any) -> None:
    await table.execute("CREATE TABLE alembic_version AS SELECT '0000' AS version_num")
    process = await command()
    written = await written_by(process)

    assert (process.returncode, written.count("\n")) == (2, 1)
    assert written.startswith("error: the database holds the schema 0000 of a version before the first release")


async def test_handlers_that_cannot_be_imported_are_one_line_and_exit_code_2(command: Command, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("import nothing_like_it\n")
    process = await command(TASK_WORKER_HANDLERS="./tasks.py")
    written = await written_by(process)

    assert process.returncode == 2
    assert written.startswith("error: TASK_WORKER_HANDLERS: ")
    assert "tasks.py, line 1: ModuleNotFoundError: No module named 'nothing_like_it'" in written
    assert written.count("\n") == 1


async def test_an_alive_file_that_cannot_be_written_is_one_line_and_exit_code_2(command: Command) -> None:
    process = await command(TASK_WORKER_ALIVE_FILE="/no/such/folder/alive")
    written = await written_by(process)

    assert process.returncode == 2
    assert written == "error: TASK_WORKER_ALIVE_FILE: /no/such/folder/alive: No such file or directory\n"


async def test_the_check_explains_itself_without_any_setting(command: Command) -> None:
    process = await command("check", "--help", TASK_DATABASE_URL="")
    written, _ = await process.communicate()

    assert process.returncode == 0
    assert b"exit code 0, else 1" in written


async def test_the_check_is_true_of_a_worker_that_runs_is_frozen_and_thaws(
    command: Command, table: Any, tmp_path: Path
) -> None:
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)
    settings = {"TASK_WORKER_ALIVE_FILE": str(tmp_path / "alive"), "TASK_WORKER_LEASE_SECONDS": "3"}

    async def said(code: int) -> str:
        """Run `task-worker check` until its exit code is this one, and return what it printed."""
        async with asyncio.timeout(60):
            while True:
                check = await command("check", **settings)
                line, _ = await check.communicate()
                if check.returncode == code:
                    return line.decode()

    process = await command(**settings)
    assert await said(0) == "alive\n"
    process.send_signal(signal.SIGSTOP)
    assert (await said(1)).startswith("silent for ")
    process.send_signal(signal.SIGCONT)
    assert await said(0) == "alive\n"


async def test_options_win_over_the_environment(command: Command, tmp_path: Path, table: Any) -> None:
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)
    (tmp_path / "mine.py").write_text(
        "from task_worker import handler\n\n@handler('mine')\ndef run(payload: dict) -> None: ...\n"
    )
    environment = {
        "TASK_QUEUES": "default,reports",
        "TASK_WORKER_QUEUES": "default",
        "TASK_WORKER_CONCURRENCY": "7",
        "TASK_WORKER_HANDLERS": "./nowhere.py",
    }
    process = await command("--handlers", "./mine.py", "--queues", "reports", "--concurrency", "3", **environment)
    async with asyncio.timeout(60):
        while not (workers := await table.fetch("SELECT queues FROM workers")):  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    written = await written_by(process)

    assert process.returncode == 0
    assert [list(worker["queues"]) for worker in workers] == [["reports"]]
    assert "mine" in written
    assert re.findall(r"concurrency +(\S+)", written) == ["3"]


async def test_a_wrong_option_is_refused_like_its_setting(command: Command) -> None:
    process = await command("--concurrency", "0", "--queues", "nowhere")
    written = await written_by(process)

    assert process.returncode == 2
    assert "TASK_WORKER_CONCURRENCY" in written
