"""Handlers in a process of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from task_contracts import BackOff, Task
from task_store import Tasks
from task_worker.timings import AttemptTimings, WorkerTimings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

HANDLERS = """
import asyncio, multiprocessing, os, signal, subprocess, sys, time
from pathlib import Path
from pydantic import BaseModel
from task_worker import Context, Fail, Retry, Snooze, TaskCancelled, handler


class Place(BaseModel):
    path: Path
    seconds: float = 0


def note(place, text):
    with place.path.open("a") as file:
        file.write(f"{text}\\n")


@handler("value", in_process=True)
def value(payload: dict, context: Context) -> dict:
    context.progress(50, "half way")
    return {"pid": os.getpid(), "attempt": context.attempt, "payload": payload}


@handler("async", in_process=True)
async def on_its_own_loop() -> str:
    await asyncio.sleep(0)
    return "async"


@handler("raises", in_process=True, max_attempts=1)
def raises() -> None:
    raise ValueError("broken")


@handler("fails", in_process=True)
def fails() -> None:
    raise Fail("no", code="no_customer")


@handler("snoozes", in_process=True)
def snoozes(context: Context) -> int:
    if context.attempt == 1:
        raise Snooze(after_seconds=0)
    return context.attempt


@handler("exits", in_process=True, max_attempts=1)
def exits() -> None:
    sys.exit(3)


@handler("aborts", in_process=True, max_attempts=2)
def aborts() -> None:
    os.abort()


@handler("quits", in_process=True, max_attempts=1)
def quits() -> None:
    os._exit(7)


@handler("unstorable", in_process=True)
def unstorable() -> object:
    return {"f": lambda: None}


@handler("large", in_process=True)
def large(payload: dict) -> str:
    return payload["text"]


@handler("prints", in_process=True)
def prints() -> str:
    print("x" * 100_000)
    os.write(1, b"raw" * 1000)
    subprocess.run([sys.executable, "-c", "print('from a child of mine')"], check=True)
    return sys.stdin.read()


@handler("waits", in_process=True)
def waits(payload: Place) -> None:
    note(payload, os.getpid())
    time.sleep(payload.seconds)


@handler("held", in_process=True)
def held(payload: Place) -> None:
    note(payload, os.getpid())
    while not payload.path.with_suffix(".go").exists():
        time.sleep(0.01)


@handler("stubborn", in_process=True)
def stubborn(payload: Place) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(payload, os.getpid())
    time.sleep(payload.seconds)


@handler("forks", in_process=True)
def forks(payload: Place) -> str:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=sleep_long, args=(payload,), daemon=False)
    child.start()
    while not payload.path.exists():
        time.sleep(0.01)
    if payload.seconds:
        os.abort()
    os.kill(os.getpid(), 0)
    return "left one behind"


def sleep_long(place):
    note(place, os.getpid())
    time.sleep(60)


@handler("family", in_process=True)
def family(payload: Place) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note(payload, os.getpid())
    note(payload, child.pid)
    time.sleep(60)


@handler("odd", in_process=True, max_attempts=1)
def odd() -> None:
    class OddError(Exception):
        def __init__(self, a, b):
            self.lock = open(os.devnull)

    raise OddError(1, 2)
"""


@pytest.fixture
def handlers_file(tmp_path: Path) -> Path:
    path = tmp_path / "process_handlers.py"
    path.write_text(HANDLERS)
    return path


@pytest.fixture
def timings(timings: WorkerTimings) -> WorkerTimings:
    return replace(timings, attempt=AttemptTimings(retry=BackOff(first_seconds=0.05, longest_seconds=0.05)))


@pytest.fixture
async def worker(start: Start, handlers_file: Path) -> Any:
    return await start(handlers=str(handlers_file), handler_processes=2)


@pytest.fixture
def pids(tmp_path: Path, until: Until) -> Callable[..., Awaitable[list[int]]]:
    """Wait until this many processes have written their ids, and return the ids."""
    path = tmp_path / "pids"

    async def wait(count: int = 1) -> list[int]:
        def noted() -> list[int]:
            lines = path.read_text().splitlines() if path.exists() else []
            return [int(line) for line in lines] if len(lines) >= count else []

        return list(await until(noted))

    return wait


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


async def test_a_value_and_progress_come_back(worker: Any, create: Create, ended: Ended) -> None:
    first = await create("value", payload={"n": 1})
    second = await create("async")

    row = await ended(first.id)
    assert (row["status"], row["result"]["attempt"], row["result"]["payload"]) == ("COMPLETED", 1, {"n": 1})
    assert row["result"]["pid"] != os.getpid()
    assert row["progress"] == {"percent": 50.0, "message": "half way"}
    assert (await ended(second.id))["result"] == "async"


async def test_one_process_runs_task_after_task(
    start: Start, handlers_file: Path, create: Create, ended: Ended
) -> None:
    await start(handlers=str(handlers_file), handler_processes=1)

    rows = [await ended((await create("value")).id) for _ in range(3)]

    assert len({row["result"]["pid"] for row in rows}) == 1


async def test_no_more_run_at_once_than_there_are_processes_and_the_others_lose_no_time(
    start: Start,
    handlers_file: Path,
    create: Create,
    ended: Ended,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
    until: Until,
) -> None:
    worker = await start(handlers=str(handlers_file), handler_processes=1)
    first = await create("waits", payload={"path": str(tmp_path / "pids"), "seconds": 5})
    await pids()
    others = [await create("value", timeout_seconds=4, max_attempts=1) for _ in range(3)]
    await until(lambda: len(worker.worker._in_flight) == 4)

    rows = [await ended(task.id) for task in (first, *others)]

    assert [row["status"] for row in rows] == ["COMPLETED"] * 4
    assert {row["result"]["pid"] for row in rows[1:]} == set(await pids())


async def test_what_waits_for_a_process_when_its_worker_drains_is_given_back_at_once(
    start: Start,
    handlers_file: Path,
    create: Create,
    ended: Ended,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
    until: Until,
    table: Any,
) -> None:
    leaving = await start(handlers=str(handlers_file), handler_processes=1, drain_seconds=60)
    running = await create("held", payload={"path": str(tmp_path / "pids")})
    await pids()
    waiting = await create("value")
    await until(lambda: len(leaving.worker._in_flight) == 2)
    await start(handlers=str(handlers_file))
    leaving.stop.set()

    row = await ended(waiting.id)

    assert (row["status"], row["attempt"], row["failures"], row["lost_count"]) == ("COMPLETED", 2, 0, 0)
    assert (await table.task(running.id))["status"] == "IN_PROGRESS"
    (tmp_path / "pids.go").touch()
    assert (await ended(running.id))["attempt"] == 1


async def test_outcomes_are_those_of_any_handler(worker: Any, create: Create, ended: Ended, table: Any) -> None:
    names = ("raises", "fails", "snoozes", "unstorable", "exits", "odd")
    ids = {name: (await create(name)).id for name in names}
    rows = {name: await ended(task_id) for name, task_id in ids.items()}

    assert {name: (row["status"], row["attempt"], (row["error"] or {}).get("code")) for name, row in rows.items()} == {
        "raises": ("FAILED", 1, "handler_error"),
        "fails": ("FAILED", 1, "no_customer"),
        "snoozes": ("COMPLETED", 2, None),
        "unstorable": ("FAILED", 1, "unstorable_result"),
        "exits": ("FAILED", 1, "handler_error"),
        "odd": ("FAILED", 1, "handler_error"),
    }
    (attempt,) = await table.attempts(ids["raises"])
    assert 'raise ValueError("broken")' in attempt["traceback"]


async def test_a_process_that_dies_is_a_failure_of_its_attempt_alone(
    worker: Any, create: Create, ended: Ended, table: Any
) -> None:
    aborts, quits = await create("aborts"), await create("quits")

    row = await ended(aborts.id)
    assert (row["status"], row["attempt"], row["lost_count"]) == ("FAILED", 2, 0)
    assert row["error"] == {
        "code": "process_died",
        "message": "the handler's process ended by signal SIGABRT",
        "type": None,
    }
    assert [one["outcome"] for one in await table.attempts(aborts.id)] == ["RETRY", "FAIL"]
    assert (await ended(quits.id))["error"]["message"] == "the handler's process ended by exit code 7"


async def test_its_prints_do_not_mix_with_its_messages_and_large_ones_pass_both_ways(
    worker: Any, create: Create, ended: Ended
) -> None:
    text = "é" * 400_000
    prints, large = await create("prints"), await create("large", payload={"text": text})

    row = await ended(prints.id)
    assert (row["status"], row["result"]) == ("COMPLETED", "")  # it reads nothing from its standard input
    assert (await ended(large.id))["result"] == text


async def test_it_is_killed_on_its_timeout(
    worker: Any, create: Create, ended: Ended, tmp_path: Path, pids: Callable[..., Awaitable[list[int]]]
) -> None:
    payload = {"path": str(tmp_path / "pids"), "seconds": 60}
    task = await create("waits", payload=payload, timeout_seconds=0.5, max_attempts=1)

    row = await ended(task.id)

    assert (row["status"], row["error"]["code"]) == ("FAILED", "timeout")
    (pid,) = await pids()
    assert is_gone(pid)


@pytest.mark.alone
async def test_it_is_killed_on_a_cancel_with_all_that_it_started(
    worker: Any,
    create: Create,
    ended: Ended,
    tasks: Tasks,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
    until: Until,
) -> None:
    task = await create("family", payload={"path": str(tmp_path / "pids")})
    family = await pids(2)
    began = time.monotonic()
    await tasks.cancel(task.id)

    row = await ended(task.id)

    assert row["status"] == "CANCELLED"
    assert time.monotonic() - began < 2
    for pid in family:
        await until(lambda pid=pid: is_gone(pid))


async def test_one_that_ignores_sigterm_is_killed_after_a_grace(
    start: Start,
    handlers_file: Path,
    timings: WorkerTimings,
    create: Create,
    ended: Ended,
    tasks: Tasks,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
) -> None:
    quick = replace(timings, attempt=AttemptTimings(kill_grace_seconds=0.3))
    await start(handlers=str(handlers_file), timings=quick)
    task = await create("stubborn", payload={"path": str(tmp_path / "pids"), "seconds": 60})
    (pid,) = await pids()
    await tasks.cancel(task.id)

    row = await ended(task.id)

    assert row["status"] == "CANCELLED"
    assert is_gone(pid)


@pytest.mark.parametrize(("seconds", "status"), [(0, "COMPLETED"), (1, "FAILED")])
async def test_what_it_forked_neither_hides_its_end_nor_outlives_it(
    worker: Any,
    create: Create,
    ended: Ended,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
    until: Until,
    seconds: float,
    status: str,
) -> None:
    payload = {"path": str(tmp_path / "pids"), "seconds": seconds}
    task = await create("forks", payload=payload, max_attempts=1)

    row = await ended(task.id)

    assert row["status"] == status
    for pid in await pids():
        await until(lambda pid=pid: is_gone(pid))


async def test_one_that_ignores_sigterm_is_killed_at_once_when_the_lease_is_lost(
    worker: Any,
    create: Create,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
    table: Any,
    until: Until,
) -> None:
    task = await create("stubborn", payload={"path": str(tmp_path / "pids"), "seconds": 60})
    (pid,) = await pids()

    await table.execute("UPDATE workers SET dead_at = statement_timestamp()")

    await until(lambda: is_gone(pid))
    assert worker.exit_codes == []
    await until(lambda: table.fetch("SELECT 1 FROM tasks WHERE id = $1 AND lost_count = 1", task.id))


async def test_it_ends_when_its_worker_is_killed(
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]],
    create: Create,
    ended: Ended,
    handlers_file: Path,
    tmp_path: Path,
    pids: Callable[..., Awaitable[list[int]]],
    until: Until,
) -> None:
    process = await worker_process(handlers_file, handler_processes=3)
    # That worker runs on uvloop, which starts processes in its own way.
    aborts = await create("forks", payload={"path": str(tmp_path / "third"), "seconds": 1}, max_attempts=1)
    await create("stubborn", payload={"path": str(tmp_path / "pids"), "seconds": 60})
    await create("forks", payload={"path": str(tmp_path / "other"), "seconds": 0})
    idle = (await ended((await create("value")).id))["result"]["pid"]
    (pid,) = await pids()
    other = tmp_path / "other"
    grandchild = int(await until(lambda: other.exists() and other.read_text()))
    assert (await ended(aborts.id))["error"]["code"] == "process_died"

    process.send_signal(signal.SIGKILL)
    await process.wait()

    for one in (pid, idle, grandchild):
        await until(lambda one=one: is_gone(one))


@pytest.mark.parametrize("place", ["process_handlers.py", "process_handlers"])
async def test_it_finds_its_handler_wherever_code_has_changed_to(
    start: Start,
    create: Create,
    ended: Ended,
    handlers_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(handlers_file.parent)
    await start(handlers=place)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "orjson.py").write_text("raise RuntimeError('the wrong folder')")
    monkeypatch.chdir(elsewhere)

    row = await ended((await create("async", max_attempts=1)).id)

    assert (row["result"], row["error"]) == ("async", None)
