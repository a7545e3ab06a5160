"""`task-worker --processes N`: real processes under one parent, and what becomes of them and of their tasks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from task_contracts import Task
from task_store import SCHEMA_REVISION
from task_worker.exits import LEASE_LOST

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Until = Callable[..., Awaitable[Any]]
Run = Callable[..., Awaitable["Parent"]]

HANDLERS = """
import asyncio, pathlib, time
from task_worker import handler

async def wait_for(count, pattern):
    while len(list(pathlib.Path().glob(pattern))) < count:
        await asyncio.sleep(0.02)

@handler("meet")
async def meet(payload: dict) -> None:
    pathlib.Path(f"here.{payload['n']}").touch()
    await wait_for(2, "here.*")

@handler("until_told")
async def until_told(payload: dict) -> None:
    pathlib.Path(f"running.{payload['n']}").touch()
    await wait_for(1, "told")

@handler("thread_for_ever")
def thread_for_ever(payload: dict) -> None:
    pathlib.Path(f"running.{payload['n']}").touch()
    time.sleep(600)
"""


class Parent:
    """A parent that runs, and what it and its processes have logged until now."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.text = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self.process.stderr or ():
            self.text += line.decode()

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of one event with these fields, in order."""
        lines = [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name and fields.items() <= line.items()]

    def children(self) -> list[int]:
        """Return the pids of its processes, in the order in which they were started."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def end(self, *signals: signal.Signals) -> int:
        """Send it signals, wait for its end, and return its exit code."""
        for number in signals:
            self.process.send_signal(number)
        async with asyncio.timeout(60):
            await self.process.wait()
            await self._reading
        assert self.process.returncode is not None
        return self.process.returncode


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, also where nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(HANDLERS)
    return tmp_path / "tasks.py"


@pytest.fixture
async def run(command: Callable[..., Awaitable[Process]], handlers: Path, table: Any, until: Until) -> Run:
    """Start two worker processes with the handlers, and wait until both are registered."""
    await table.execute("CREATE TABLE alembic_version AS SELECT $1::text AS version_num", SCHEMA_REVISION)

    async def start(*words: str, **settings: Any) -> Parent:
        named = {"TASK_LOG_FORMAT": "json", "TASK_WORKER_LEASE_SECONDS": "2", **settings}
        parent = Parent(await command("--processes", "2", "--handlers", handlers.name, *words, **named))
        await until(lambda: len(parent.events("worker_registered")) == 2)
        return parent

    return start


@pytest.fixture
def port() -> int:
    """Return a port of which the next two were free a moment ago."""
    while True:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for number in (1, 2):
                stack.enter_context(socket.create_server(("127.0.0.1", first + number)))
            return int(first)


async def test_both_work_and_say_which_they_are_and_stop_when_their_parent_is_asked_to(
    run: Run, create: Create, ended: Ended, table: Any, port: int
) -> None:
    parent = await run("--concurrency", "1", TASK_METRICS_PORT=str(port))
    tasks = [await create("meet", payload={"n": number}) for number in range(2)]
    rows = [await ended(task.id) for task in tasks]
    scraped = [await asyncio.to_thread(_scrape, port + number) for number in (1, 2)]
    code = await parent.end(signal.SIGTERM)

    blocks = {line["process"]: (line["title"], line["metrics_port"]) for line in parent.events("process_started")}
    assert [row["status"] for row in rows] == ["COMPLETED"] * 2
    assert len({row["worker_id"] for row in rows}) == 2, "one worker runs one at a time, and each waits for the other"
    assert code == 0
    assert {n: (title.partition(", ")[2], metrics) for n, (title, metrics) in blocks.items()} == {
        1: ("process 1 of 2", str(port + 1)),
        2: ("process 2 of 2", str(port + 2)),
    }
    assert all("task_service_build_info" in text for text in scraped)
    assert sorted(line["process"] for line in parent.events("worker_registered")) == [1, 2]
    assert [worker["dead_at"] is None for worker in await table.fetch("SELECT dead_at FROM workers")] == [False] * 2


def _scrape(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


async def test_work_in_flight_is_finished_before_the_parent_ends(
    run: Run, create: Create, ended: Ended, until: Until, tmp_path: Path
) -> None:
    parent = await run("--concurrency", "1")
    tasks = [await create("until_told", payload={"n": number}) for number in range(2)]
    await until(lambda: len(list(tmp_path.glob("running.*"))) == 2)
    parent.process.send_signal(signal.SIGTERM)
    await until(lambda: len(parent.events("drain_began", running=1)) == 2)
    (tmp_path / "told").touch()
    code = await parent.end()

    rows = [await ended(task.id) for task in tasks]
    assert [(row["status"], row["attempt"]) for row in rows] == [("COMPLETED", 1)] * 2
    assert code == 0


async def test_a_ctrl_c_reaches_each_once_and_a_second_one_ends_the_waiting(
    run: Run, create: Create, until: Until, table: Any, tmp_path: Path
) -> None:
    parent = await run(leads_group=True, TASK_WORKER_DRAIN_SECONDS="600")
    task = await create("until_told", payload={"n": 1})
    await until((tmp_path / "running.1").exists)
    os.killpg(parent.process.pid, signal.SIGINT)  # as a terminal does
    await until(lambda: len(parent.events("drain_began")) == 2)
    assert len(parent.events("shutdown_requested", again=True)) == 0
    os.killpg(parent.process.pid, signal.SIGINT)
    code = await parent.end()

    row = await table.task(task.id)
    assert code == 0
    assert (row["status"], row["lost_count"]) == ("PENDING", 0)
    assert len(parent.events("shutdown_requested", again=False)) == 3, "the parent and its two processes"


async def test_the_tasks_of_one_that_is_killed_run_again_and_another_takes_its_place(
    run: Run, create: Create, ended: Ended, until: Until, tmp_path: Path
) -> None:
    parent = await run("--concurrency", "1")
    tasks = [await create("until_told", payload={"n": number}) for number in range(2)]
    await until(lambda: len(list(tmp_path.glob("running.*"))) == 2)
    killed, other = parent.children()
    os.kill(killed, signal.SIGKILL)
    await until(lambda: len(parent.events("worker_registered")) == 3)
    (tmp_path / "told").touch()
    rows = [await ended(task.id) for task in tasks]
    left, new = sorted(parent.children(), key=lambda pid: pid != other)
    code = await parent.end(signal.SIGTERM)

    (death,) = parent.events("loop_died")
    assert [row["status"] for row in rows] == ["COMPLETED"] * 2
    assert sorted(row["lost_count"] for row in rows) == [0, 1]
    assert (left, new == killed) == (other, False)
    assert f"process 1 (pid {killed}) ended by signal SIGKILL" in death["exception"]
    assert parent.events("worker_registered")[2]["process"] == 1
    assert code == 0


async def test_none_outlives_a_parent_that_is_killed(run: Run, until: Until) -> None:
    parent = await run()
    children = parent.children()
    await parent.end(signal.SIGKILL)

    assert len(children) == 2
    await until(lambda: all(map(is_gone, children)))


async def test_handlers_that_cannot_be_imported_end_the_parent_by_exit_code_2(
    command: Callable[..., Awaitable[Process]], tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").write_text("import nothing_like_it\n")
    parent = Parent(await command("--processes", "2", "--handlers", "tasks.py"))
    code = await parent.end()

    errors = [line for line in parent.text.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert errors
    assert all(re.match(r"error: TASK_WORKER_HANDLERS: .*No module named 'nothing_like_it'", line) for line in errors)


async def test_one_that_cannot_start_again_as_it_is_set_up_ends_the_others_in_order_and_the_parent_by_2(
    run: Run, create: Create, ended: Ended, until: Until, table: Any, handlers: Path, tmp_path: Path
) -> None:
    parent = await run("--concurrency", "1")
    task = await create("until_told", payload={"n": 1})
    await until(lambda: (tmp_path / "running.1").exists())
    (runs_it,) = parent.events("worker_registered", worker_id=str((await table.task(task.id))["worker_id"]))
    await asyncio.to_thread(handlers.write_text, "import nothing_like_it\n")
    os.kill(parent.children()[2 - runs_it["process"]], signal.SIGTERM)  # the other one, which drains and ends by 0
    await until(lambda: parent.events("drain_began", process=runs_it["process"], running=1))
    (tmp_path / "told").touch()
    code = await parent.end()

    assert (await ended(task.id))["attempt"] == 1
    assert code == 2


@pytest.mark.parametrize("word", ["0", "two"])
async def test_a_wrong_number_of_processes_is_exit_code_2(
    command: Callable[..., Awaitable[Process]], word: str
) -> None:
    parent = Parent(await command("--processes", word))

    assert await parent.end() == 2


async def test_code_that_cannot_be_stopped_is_told_by_the_exit_code_of_the_parent(
    run: Run, create: Create, until: Until, tmp_path: Path
) -> None:
    parent = await run(TASK_WORKER_DRAIN_SECONDS="0")
    await create("thread_for_ever", payload={"n": 1})
    await until((tmp_path / "running.1").exists)

    assert await parent.end(signal.SIGTERM) == LEASE_LOST


async def test_the_check_is_true_only_while_all_of_them_live(
    run: Run, command: Callable[..., Awaitable[Process]], tmp_path: Path
) -> None:
    settings = {"TASK_WORKER_ALIVE_FILE": str(tmp_path / "alive"), "TASK_WORKER_LEASE_SECONDS": "3"}

    async def said(code: int) -> str:
        """Run `task-worker check` until its exit code is this one, and return what it printed."""
        async with asyncio.timeout(60):
            while True:
                check = await command("check", **settings)
                line, _ = await check.communicate()
                if check.returncode == code:
                    return line.decode()

    parent = await run(**settings)
    frozen = parent.children()[1]
    assert await said(0) == "alive\n"
    os.kill(frozen, signal.SIGSTOP)
    assert (await said(1)).startswith("silent for ")
    os.kill(frozen, signal.SIGCONT)
    assert await said(0) == "alive\n"
    parent.process.send_signal(signal.SIGSTOP)
    assert (await said(1)).startswith("silent for ")
    parent.process.send_signal(signal.SIGCONT)
    assert await parent.end(signal.SIGTERM) == 0
