"""What is kept of a failure that operators look for: its kind, and how often it came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from task_contracts import REJECTED_FAILURE, BackOff, ErrorGroup, FailureKind, Task, limits
from task_contracts.lifecycle import Event
from task_store import Activities, Database, Failures, Pauses, TaskFilter, Tasks
from task_worker import Fail, handler
from task_worker.leader.election import Leadership
from task_worker.leader.purge_counts import PurgeCounts
from task_worker.timings import AttemptTimings, WorkerTimings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]
Groups = Callable[[], Awaitable[dict[str, ErrorGroup]]]

HERE = __name__
IN_PROCESS = """
import os, signal
from task_worker import handler


class NoFileError(Exception):
    def __str__(self):
        raise SystemExit("no text")


def render():
    raise NoFileError


@handler("process", in_process=True, max_attempts=1)
def build():
    render()


@handler("dies", in_process=True, max_attempts=1)
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def timings(timings: WorkerTimings) -> WorkerTimings:
    return replace(timings, attempt=AttemptTimings(retry=BackOff(first_seconds=0.05, longest_seconds=0.05)))


@pytest.fixture
def groups(database_url: str) -> Groups:
    """Return what the database has counted, by type."""

    async def read() -> dict[str, ErrorGroup]:
        async with Database(database_url, pool_size=1) as database:
            return {group.type: group for group in await Failures(database).last_day()}

    return read


def load() -> None:
    raise FileNotFoundError("monthly.csv \x1b[2J\x00")


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


async def test_failure_of_each_kind_of_handler_has_its_fingerprint_and_is_counted_at_the_stop(
    start: Start, create: Create, ended: Ended, groups: Groups, tmp_path: Path
) -> None:
    @handler("loop", max_attempts=3)
    async def on_loop() -> None:
        load()

    @handler("thread", max_attempts=1)
    def in_thread() -> None:
        raise SilentError

    @handler("late", max_attempts=1, timeout_seconds=0.1)
    async def late() -> None:
        await asyncio.Event().wait()

    file = tmp_path / "reports_in_process.py"
    file.write_text(IN_PROCESS)
    running = await start(on_loop, in_thread, late, handlers=(str(file),))
    tasks = {name: await create(name) for name in ("loop", "thread", "late", "process", "dies")}
    rows = {name: await ended(task.id) for name, task in tasks.items()}

    await running.finish()

    kinds = {
        "loop": FailureKind("loop", "FileNotFoundError", f"{HERE} in load"),
        "thread": FailureKind("thread", f"{HERE}.SilentError", f"{HERE} in {in_thread.__qualname__}"),
        "late": FailureKind("late", "timeout"),
        "process": FailureKind("process", "reports_in_process.NoFileError", "reports_in_process in render"),
        "dies": FailureKind("dies", "process_died"),
    }
    counted = await groups()
    assert {name: rows[name]["fingerprint"] for name in rows} == {
        name: kind.fingerprint for name, kind in kinds.items()
    }
    for name, kind in kinds.items():
        group = counted[name]
        assert (group.fingerprint, group.exception, group.frame) == (kind.fingerprint, kind.exception, kind.frame)
        assert (group.count, group.example_id) == (3 if name == "loop" else 1, tasks[name].id)
    assert counted["loop"].message == "monthly.csv \x1b[2J\ufffd"


async def test_what_succeeds_snoozes_or_is_cancelled_is_no_failure(
    start: Start, create: Create, ended: Ended, groups: Groups, tasks: Tasks, until: Until
) -> None:
    began = asyncio.Event()

    @handler("t")
    async def run() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise Fail("stopped")

    running = await start(run)
    done, stopped = await create(), await create("t")
    await ended(done.id)
    await began.wait()
    await tasks.cancel(stopped.id)
    running.worker._heartbeat.cancel_requested([stopped.id])

    row = await ended(stopped.id)

    await running.finish()
    assert (row["status"], row["fingerprint"]) == ("CANCELLED", None)
    assert await groups() == {}


async def test_tracebacks_and_messages_of_any_size_are_cut(
    start: Start, create: Create, ended: Ended, groups: Groups, tasks: Tasks
) -> None:
    @handler("large", max_attempts=1)
    def large() -> None:
        raise ValueError("x" * 10_000_000) from ExceptionGroup("y" * 10_000_000, [ValueError("z" * 10_000_000)] * 100)

    running = await start(large)
    task = await create("large")
    await ended(task.id)
    await running.finish()

    (attempt,) = await tasks.attempts(task.id) or []
    assert len((attempt.traceback or "").encode()) <= limits.TRACEBACK_BYTES
    assert len((await groups())["large"].message) == limits.FAILURE_MESSAGE_CHARS


async def test_failures_that_the_leader_decides_are_counted(
    start: Start, create: Create, ended: Ended, groups: Groups, table: Any
) -> None:
    running = await start(lease_seconds=1)
    dead = await table.dead_worker()
    lost = await table.running(dead, lost_count=2, type="lost")
    unknown = await create("unknown")
    for task_id in (lost, unknown.id):
        await ended(task_id)

    await running.finish()

    counted = await groups()
    assert {name: (group.exception, group.count) for name, group in counted.items()} == {
        "lost": ("worker_lost", 1),
        "other": ("unknown_type", 1),
    }
    assert counted["lost"].message == "3 workers were lost while they ran it"


async def test_callers_who_send_any_number_of_types_hide_no_failure(
    start: Start, create: Create, ended: Ended, groups: Groups, tasks: Tasks, table: Any, until: Until
) -> None:
    @handler("t", max_attempts=1)
    async def run() -> None:
        load()

    running = await start(run, lease_seconds=1)
    hostile = limits.FINGERPRINTS_AN_HOUR + 1
    await asyncio.gather(*(create(f"hostile.{number}") for number in range(hostile)))

    with capture_logs() as logs:
        await until(lambda: _has_failed(table, hostile), 60)
        task = await create("t")
        await ended(task.id)
        await running.finish()

    counted = await groups()
    assert counted.keys() == {"other", "t"}
    assert (counted["t"].exception, counted["t"].example_id) == ("FileNotFoundError", task.id)
    rejected = counted["other"]
    assert (rejected.fingerprint, rejected.count) == (REJECTED_FAILURE.fingerprint, hostile)
    assert rejected.message.startswith("no worker of its queue offers the type hostile.")
    assert len((await tasks.page(TaskFilter(fingerprint=rejected.fingerprint), items=hostile)).items) == hostile
    lines = [line for line in logs if line["event"] == "tasks_rejected"]
    assert sum(line["tasks"] for line in lines) == hostile
    assert len(lines) < hostile / 10
    assert {len(line["types"]) for line in lines} <= set(range(1, 6))


async def _has_failed(table: Any, tasks: int) -> bool:
    return bool(await table.count("FAILED") == tasks)


async def test_kind_of_failure_is_rerun_once_it_is_mended(
    start: Start, create: Create, ended: Ended, tasks: Tasks, until: Until
) -> None:
    is_mended = False

    @handler("t", max_attempts=1)
    async def run(payload: dict[str, Any]) -> str:
        if payload["kind"] == "key":
            raise KeyError(payload["kind"])
        if not is_mended:
            load()
        return "done"

    await start(run)
    broken = [await create("t", payload={"kind": "file"}) for _ in range(3)]
    other = await create("t", payload={"kind": "key"})
    fingerprint, *_ = [(await ended(task.id))["fingerprint"] for task in (*broken, other)]
    is_mended = True

    changed = await tasks.change_many([Event.RERUN], TaskFilter(fingerprint=fingerprint), items=100)

    assert changed.event_by_id.keys() == {task.id for task in broken}
    assert [(await ended(task.id))["result"] for task in broken] == ["done"] * 3
    assert (await tasks.page(TaskFilter(fingerprint=fingerprint), items=9)).items == ()
    assert (await ended(other.id))["status"] == "FAILED"


async def test_database_that_is_away_costs_counts_and_no_stop(
    start: Start, create: Create, ended: Ended, groups: Groups, table: Any, until: Until
) -> None:
    @handler("t", max_attempts=1)
    async def run() -> None:
        load()

    running = await start(run)
    await ended((await create("t")).id)
    await until(lambda: running.worker._failure_counts._counts)  # the row has ended before its worker knows
    await table.execute("ALTER TABLE failure_hours RENAME TO failure_hours_away")

    await running.worker._failure_counts.flush()

    await table.execute("ALTER TABLE failure_hours_away RENAME TO failure_hours")
    await running.finish()
    assert running.exit_codes == []
    assert await groups() == {}


async def test_leader_forgets_old_counts(database_url: str, table: Any) -> None:
    await table.execute(
        "INSERT INTO failure_hours SELECT now() - n * interval '1 day', n::text, 't', 'e', 'f', 'm', 1, now(), now(),"
        " gen_random_uuid() FROM generate_series(1, 2000) AS n"
    )
    await table.execute(
        "INSERT INTO activity_minutes SELECT now() - n * interval '1 day', 'default', 'LOW', n::text"
        " FROM generate_series(1, 2000) AS n"
    )
    async with Database(database_url, pool_size=1) as database:
        await PurgeCounts(Failures(database), Activities(database), Pauses(database), Leadership()).purge()

    for name, time in (("failure_hours", "hour"), ("activity_minutes", "minute")):
        kept = await table.fetch(
            f"SELECT min({time}) > now() - interval '14 days 1 hour' AS is_new, count(*) FROM {name}"
        )
        assert kept == [{"is_new": True, "count": 13}]
