"""What a handler keeps for its next attempt: stored when the call returns, whatever becomes of the worker then."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from task_contracts import BackOff, Task
from task_store.testing import Table, connect_past_store
from task_worker import Context, Retry, TaskCancelled, handler
from task_worker.timings import WorkerTimings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

HANDLERS = """
import time
from task_worker import Context, Retry, handler

@handler("plain")
@handler("process", in_process=True)
def plain(context: Context):
    done = context.checkpointed or []
    if len(done) == 3:
        return done
    context.checkpoint([*done, context.attempt])
    raise Retry(after_seconds=0)

@handler("async")
@handler("async.process", in_process=True)
async def on_a_loop(context: Context):
    done = context.checkpointed or []
    if len(done) == 3:
        return done
    await context.checkpoint([*done, context.attempt])
    raise Retry(after_seconds=0)

@handler("hangs")
@handler("hangs.process", in_process=True)
def hangs(context: Context):
    context.checkpoint({"page": 3})
    context.progress(50)
    time.sleep(600)
"""


@pytest.fixture
def handlers_file(tmp_path: Path) -> Path:
    path = tmp_path / "keeping.py"
    path.write_text(HANDLERS)
    return path


@pytest.mark.parametrize("type_", ["plain", "process", "async", "async.process"])
async def test_each_attempt_finds_what_the_one_before_has_kept(
    start: Start, create: Create, ended: Ended, handlers_file: Path, type_: str
) -> None:
    await start(handlers=str(handlers_file))

    row = await ended((await create(type_, max_attempts=4)).id)

    assert (row["status"], row["result"], row["attempt"]) == ("COMPLETED", [1, 2, 3], 4)
    assert row["checkpoint"] == [1, 2, 3]


@pytest.mark.parametrize("type_", ["hangs", "hangs.process"])
async def test_what_was_kept_survives_the_worker(
    start: Start,
    create: Create,
    ended: Ended,
    table: Table,
    until: Until,
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]],
    handlers_file: Path,
    type_: str,
) -> None:
    process = await worker_process(handlers_file, lease_seconds=1.5)
    task = await create(type_)
    await until(lambda: _has_progress(table, task))  # it was reported after the checkpoint had returned
    process.send_signal(signal.SIGKILL)
    await process.wait()

    @handler(type_)
    def goes_on(context: Context) -> Any:
        return context.checkpointed

    await start(goes_on, lease_seconds=1.5)

    row = await ended(task.id)
    assert (row["result"], row["lost_count"]) == ({"page": 3}, 1)


async def test_a_rerun_begins_without_it(start: Start, create: Create, ended: Ended, tasks: Any, wake: Any) -> None:
    seen = []

    @handler("t", max_attempts=1)
    def run(context: Context) -> None:
        seen.append((context.rerun_count, context.checkpointed))
        context.checkpoint("of a run that failed")
        raise Retry

    await start(run)
    task = await create("t")
    await ended(task.id)
    await tasks.rerun(task.id)
    wake()
    await ended(task.id)

    assert seen == [(0, None), (1, None)]


async def test_a_plain_handler_that_is_stopped_keeps_how_far_it_has_come(
    start: Start, create: Create, ended: Ended
) -> None:
    began = threading.Event()

    @handler("t")
    def run(context: Context) -> Any:
        if context.checkpointed is not None:
            return context.checkpointed
        began.set()
        while not context.is_stopped:
            pass
        context.checkpoint("as far as this")
        raise TaskCancelled

    first = await start(run, drain_seconds=0)
    task = await create("t")
    await asyncio.to_thread(began.wait)
    await first.finish()
    await start(run)

    row = await ended(task.id)
    assert (row["result"], row["attempt"], row["failures"], row["lost_count"]) == ("as far as this", 2, 0, 0)


async def test_an_async_handler_that_is_stopped_keeps_how_far_it_has_come(
    start: Start, create: Create, ended: Ended
) -> None:
    began = asyncio.Event()

    @handler("t")
    async def run(context: Context) -> Any:
        if context.checkpointed is not None:
            return context.checkpointed
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await context.checkpoint("as far as this")

    first = await start(run, drain_seconds=0)
    task = await create("t")
    await began.wait()
    await first.finish()
    await start(run)

    assert (await ended(task.id))["result"] == "as far as this"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_task_that_was_taken_away_ends_the_code_and_is_not_written(
    start: Start, create: Create, table: Table, until: Until, *, is_async: bool
) -> None:
    began, go_on, raised = threading.Event(), threading.Event(), []

    @handler("async")
    async def on_a_loop(context: Context) -> None:
        began.set()
        await asyncio.to_thread(go_on.wait)
        try:
            await context.checkpoint("late")
        except BaseException as error:
            raised.append(type(error))
            raise

    @handler("plain")
    def plain(context: Context) -> None:
        began.set()
        go_on.wait()
        try:
            context.checkpoint("late")
        except BaseException as error:
            raised.append(type(error))
            raise

    running = await start(on_a_loop, plain, lease_seconds=30)  # no heartbeat comes first
    task = await create("async" if is_async else "plain")
    await asyncio.to_thread(began.wait)
    await table.execute("UPDATE tasks SET lease_token = gen_random_uuid() WHERE id = $1", task.id)
    before = await table.task(task.id)

    go_on.set()
    await until(lambda: not len(running.worker._in_flight))

    assert raised == [asyncio.CancelledError if is_async else TaskCancelled]
    assert await table.task(task.id) == before


async def test_a_checkpoint_waits_for_the_database(
    start: Start, create: Create, ended: Ended, table: Table, until: Until, database_url: str, timings: WorkerTimings
) -> None:
    began, go_on = threading.Event(), threading.Event()

    @handler("t")
    def run(context: Context) -> str:
        began.set()
        go_on.wait()
        context.checkpoint("kept at last")
        return "went on"

    retry = BackOff(first_seconds=0.1, longest_seconds=0.1)
    timings = replace(timings, statement_seconds=0.3, record=replace(timings.record, retry=retry))
    await start(run, timings=timings)
    task = await create("t")
    await asyncio.to_thread(began.wait)
    other = await connect_past_store(database_url)
    try:
        async with other.transaction():
            await other.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", task.id)
            go_on.set()
            for _ in range(2):
                await until(lambda: _waits_for_lock(table))
                await until(lambda: _waits_for_nothing(table))
    finally:
        await other.close(timeout=10)

    row = await ended(task.id)
    assert (row["status"], row["result"], row["checkpoint"]) == ("COMPLETED", "went on", "kept at last")


async def _has_progress(table: Table, task: Task) -> bool:
    row = await table.task(task.id)
    return row is not None and row["progress"] is not None


async def _waits_for_lock(table: Table) -> bool:
    return bool(await table.fetch(_WAITING))


async def _waits_for_nothing(table: Table) -> bool:
    return not await table.fetch(_WAITING)


_WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE '%checkpoint%'"
)
