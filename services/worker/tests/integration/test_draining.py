"""Draining: running tasks finish; those that do not end are released, and that counts as no failure."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from task_bus import BrokerQueue, MemoryHub
from task_contracts import BackOff, Priority, Task
from task_runtime import LoopKeepsDyingError, RestartPolicy
from task_worker import handler
from task_worker.exits import LEASE_LOST
from task_worker.leader.purge import Purge
from task_worker.timings import AttemptTimings, WorkerTimings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]


@pytest.fixture
def timings(timings: WorkerTimings) -> WorkerTimings:
    return replace(timings, attempt=AttemptTimings(stop_seconds=1.5))


async def test_running_tasks_finish_and_nothing_more_is_claimed(
    start: Start, create: Create, table: Any, until: Until, hub: MemoryHub
) -> None:
    go_on, began = asyncio.Event(), []

    @handler("t")
    async def run() -> str:
        began.append(1)
        await go_on.wait()
        return "done"

    running = await start(run, concurrency=2, drain_seconds=30)
    ids = [(await create("t")).id for _ in range(6)]
    await until(lambda: len(began) == 2)

    running.stop.set()
    await until(lambda: table.fetch("SELECT 1 FROM workers WHERE draining_at IS NOT NULL"))
    go_on.set()
    async with asyncio.timeout(10):
        await running.task

    statuses = [await table.status(task_id) for task_id in ids]
    assert statuses.count("COMPLETED") == 2
    assert set(statuses) <= {"COMPLETED", "NEW", "PENDING"}
    assert running.exit_codes == []
    (worker,) = await table.fetch("SELECT * FROM workers")
    assert worker["dead_at"] is not None
    # Deliveries that no claim has tried are back in the broker, for other workers.
    names = [BrokerQueue("default", Priority.MEDIUM).name]
    assert sum(len(hub.queues[name]) for name in names) > 0


@pytest.mark.alone
async def test_an_idle_worker_stops_at_once(start: Start) -> None:
    running = await start()
    began = time.monotonic()

    await running.finish()

    assert time.monotonic() - began < 1


@pytest.mark.parametrize("is_hurried", [False, True])
async def test_at_the_deadline_or_in_a_hurry_what_runs_is_released_uncounted(
    start: Start, create: Create, table: Any, *, is_hurried: bool
) -> None:
    began = asyncio.Event()

    @handler("t", max_attempts=1)
    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    running = await start(run, drain_seconds=3600 if is_hurried else 0.1)
    task = await create("t")
    await began.wait()

    await running.finish(hurry=is_hurried)

    row = await table.task(task.id)
    assert (row["status"], row["failures"], row["lost_count"]) == ("PENDING", 0, 0)
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["RELEASE"]
    assert running.exit_codes == []


async def test_what_was_released_runs_on_another_worker(start: Start, create: Create, ended: Ended) -> None:
    began, calls = asyncio.Event(), []

    @handler("t", max_attempts=1)
    async def run() -> int:
        calls.append(1)
        if len(calls) == 1:
            began.set()
            await asyncio.Event().wait()
        return len(calls)

    first = await start(run, drain_seconds=0)
    task = await create("t")
    await began.wait()
    await start(run)

    await first.finish()

    row = await ended(task.id)
    assert (row["status"], row["result"], row["failures"], row["lost_count"]) == ("COMPLETED", 2, 0, 0)


async def test_a_thread_that_does_not_stop_at_the_deadline_ends_the_process_and_nothing_is_written(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    began, let_go = threading.Event(), threading.Event()

    @handler("t")
    def run() -> None:
        began.set()
        let_go.wait(30)

    running = await start(run, drain_seconds=0)
    task = await create("t")
    await until(began.is_set)
    running.stop.set()
    await until(lambda: running.exit_codes)

    assert running.exit_codes[0] == LEASE_LOST
    assert await table.status(task.id) == "IN_PROGRESS"
    (worker,) = await table.fetch("SELECT * FROM workers")
    assert worker["draining_at"] is not None  # so that the sweep counts no loss
    assert worker["dead_at"] is None
    let_go.set()
    async with asyncio.timeout(10):
        await running.task


async def test_heartbeats_go_on_while_it_drains(start: Start, create: Create, table: Any, until: Until) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    @handler("t")
    async def run() -> None:
        began.set()
        await go_on.wait()

    running = await start(run, lease_seconds=1, drain_seconds=30)
    task = await create("t")
    await began.wait()
    running.stop.set()

    async def expires_at() -> Any:
        return (await table.fetch("SELECT expires_at FROM workers"))[0]["expires_at"]

    first = await expires_at()

    async def has_grown() -> bool:
        return bool((await expires_at() - first).total_seconds() > 1.5)

    await until(has_grown)
    assert await table.status(task.id) == "IN_PROGRESS"
    go_on.set()
    async with asyncio.timeout(10):
        await running.task
    assert await table.status(task.id) == "COMPLETED"


async def test_a_worker_with_a_dead_part_stops_its_code_before_it_gives_up_its_lease(
    start: Start, create: Create, table: Any, timings: WorkerTimings, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, break_now, dead_at = asyncio.Event(), asyncio.Event(), []

    async def broken(_: Purge) -> None:
        await break_now.wait()
        raise ValueError("broken")

    restarts = RestartPolicy(back_off=BackOff(first_seconds=0.001, longest_seconds=0.001))
    monkeypatch.setattr(Purge, "run", broken)

    @handler("t")
    async def run() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            dead_at.extend(await table.fetch("SELECT dead_at FROM workers"))

    running = await start(run, drain_seconds=3600, timings=replace(timings, restarts=restarts))
    task = await create("t")
    await began.wait()

    break_now.set()

    async with asyncio.timeout(10):
        with pytest.raises(LoopKeepsDyingError, match="purge"):
            await running.task
    assert [row["dead_at"] for row in dead_at] == [None]
    (worker,) = await table.fetch("SELECT * FROM workers")
    assert worker["dead_at"] is not None
    assert worker["draining_at"] is None  # nobody asked it to stop, so it counts as lost
    assert await table.status(task.id) == "IN_PROGRESS"


async def test_a_recycled_worker_lets_its_tasks_finish_and_would_count_their_loss(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    @handler("t")
    async def run() -> str:
        began.set()
        await go_on.wait()
        return "done"

    running = await start(run, drain_seconds=0)
    task = await create("t")
    await began.wait()

    running.recycle.set()
    await until(lambda: running.worker._claim_loop._ended.is_set())
    late = await create("t")
    assert [row["draining_at"] for row in await table.fetch("SELECT draining_at FROM workers")] == [None]
    assert not running.task.done()
    go_on.set()
    async with asyncio.timeout(10):
        await running.task

    assert await table.status(task.id) == "COMPLETED"
    assert await table.status(late.id) in {"NEW", "PENDING"}
    (worker,) = await table.fetch("SELECT * FROM workers")
    assert worker["dead_at"] is not None
    assert worker["draining_at"] is not None


async def test_a_recycled_worker_that_is_asked_to_stop_does_not_wait_for_its_tasks_any_longer(
    start: Start, create: Create, table: Any
) -> None:
    began = asyncio.Event()

    @handler("t")
    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    running = await start(run, drain_seconds=0)
    task = await create("t")
    await began.wait()
    running.recycle.set()

    await running.finish()

    row = await table.task(task.id)
    assert (row["status"], row["failures"], row["lost_count"]) == ("PENDING", 0, 0)


async def test_what_takes_its_workers_down_is_lost_after_three_and_takes_no_neighbour_along(
    start: Start,
    create: Create,
    ended: Ended,
    until: Until,
    timings: WorkerTimings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poisoned, neighbour_began = asyncio.Event(), asyncio.Event()

    async def breaks(_: Purge) -> None:
        await poisoned.wait()
        raise ValueError("broken")

    monkeypatch.setattr(Purge, "run", breaks)

    @handler("poison")
    async def poison() -> None:
        poisoned.set()
        await asyncio.Event().wait()

    @handler("neighbour")
    async def neighbour() -> str:
        neighbour_began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved what it had"

    restarts = RestartPolicy(back_off=BackOff(first_seconds=0.001, longest_seconds=0.001))
    quick = replace(timings, restarts=restarts)
    worker = await start(poison, neighbour, timings=quick)
    saved = await create("neighbour")
    await neighbour_began.wait()
    lost = await create("poison")
    for _ in range(3):
        async with asyncio.timeout(30):
            with pytest.raises(LoopKeepsDyingError):
                await worker.task
        poisoned.clear()
        worker = await start(poison, neighbour, timings=quick)

    row = await ended(lost.id)
    assert (row["status"], row["error"]["code"], row["lost_count"], row["attempt"]) == ("FAILED", "worker_lost", 3, 3)
    assert (await ended(saved.id))["result"] == "saved what it had"
