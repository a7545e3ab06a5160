"""The poll runs tasks if messages do not come, and finds nothing if they do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from task_contracts import Task
from task_worker import handler
from task_worker.timings import PollTimings, WorkerTimings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]


async def create_many(create: Create, count: int, **fields: Any) -> None:
    await asyncio.gather(*(create(**fields) for _ in range(count)))


async def test_with_every_message_lost_all_tasks_run_within_seconds(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    running = await start(losing=True, concurrency=5)
    await create_many(create, 60)

    await until(lambda: _all(table, "COMPLETED", 60), 9)

    assert running.polled == 60
    assert {row["attempt"] for row in await table.fetch("SELECT attempt FROM tasks")} == {1}


async def test_without_a_broker_from_the_start_tasks_run(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    await create_many(create, 10)
    running = await start(connected=False)

    await until(lambda: _all(table, "COMPLETED", 10), 9)

    assert running.polled == 10


@pytest.mark.alone
async def test_with_a_healthy_bus_and_free_slots_the_poll_finds_nothing(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    workers = [await start(concurrency=50, queues="default,reports") for _ in range(2)]
    for _ in range(3):
        await asyncio.gather(
            create_many(create, 50), create_many(create, 30, queue="reports"), create_many(create, 20, priority="LOW")
        )
        await asyncio.sleep(0.5)  # keeps work flowing; no state is waited for

    await until(lambda: _all(table, "COMPLETED", 300))
    assert sum(worker.polled for worker in workers) == 0


async def test_messages_that_come_again_and_again_run_no_task_twice(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    calls = []

    @handler("t")
    async def run() -> None:
        calls.append(1)
        await asyncio.sleep(0.01)

    for _ in range(2):
        await start(run, repeating=True, concurrency=5)
    await create_many(create, 100, type_="t")

    await until(lambda: _all(table, "COMPLETED", 100))
    assert len(calls) == 100


async def test_by_the_poll_alone_low_keeps_its_share_though_slots_come_free_one_at_a_time(
    start: Start, create: Create, until: Until, timings: WorkerTimings
) -> None:
    order: list[str] = []

    @handler("t")
    async def run(payload: dict[str, str]) -> None:
        order.append(payload["priority"])

    for priority in ("HIGH", "LOW"):
        await create_many(create, 150, type_="t", priority=priority, payload={"priority": priority})

    at_once = replace(timings, claim=replace(timings.claim, poll=PollTimings(overdue=timedelta())))
    await start(run, connected=False, concurrency=1, timings=at_once)

    await until(lambda: len(order) >= 140)
    assert 4 <= order[:140].count("LOW") <= 60  # 20 expected; chosen at random


async def test_a_suspect_runs_beside_no_other_suspect(start: Start, create: Create, table: Any, until: Until) -> None:
    at_once, most, go_on = [], [], asyncio.Event()

    @handler("t")
    async def run() -> None:
        at_once.append(1)
        most.append(len(at_once))
        await go_on.wait()
        at_once.pop()

    ids = [(await create("t")).id for _ in range(3)]
    await table.execute(
        "UPDATE tasks SET lost_count = 2, due_at = due_at - interval '10 seconds',"
        " created_at = created_at - interval '10 seconds'"
    )
    running = await start(run)
    await create_many(create, 20)  # other tasks, which run meanwhile
    await until(lambda: _all(table, "COMPLETED", 20))
    await until(lambda: at_once)
    assert await table.count("IN_PROGRESS") == 1
    (suspect,) = await table.fetch("SELECT dispatched_at FROM tasks WHERE status = 'IN_PROGRESS'")
    assert suspect["dispatched_at"] is None

    go_on.set()
    await until(lambda: _all(table, "COMPLETED", 23))
    assert (max(most), running.polled) == (1, len(ids))


async def test_a_backlog_does_not_hide_a_suspect(start: Start, create: Create, table: Any, ended: Ended) -> None:
    @handler("t")
    async def run() -> None:
        await asyncio.sleep(0.02)

    await create_many(create, 300, type_="t")
    suspect = await create("t")
    await table.execute(
        "UPDATE tasks SET lost_count = CASE WHEN id = $1 THEN 2 ELSE 0 END, due_at = due_at - interval '10 seconds',"
        " created_at = created_at - interval '10 seconds'",
        suspect.id,
    )

    await start(run, concurrency=1, connected=False)

    assert (await ended(suspect.id))["status"] == "COMPLETED"
    assert await table.count("NEW", "PENDING") > 200


async def test_tasks_of_a_queue_that_is_not_served_stay_waiting(
    start: Start, create: Create, table: Any, ended: Ended
) -> None:
    other = await create(queue="reports")
    mine = await create()

    await start(queues="default,reports", served_queues="default", losing=True)

    assert (await ended(mine.id))["status"] == "COMPLETED"
    assert await table.status(other.id) == "NEW"


async def _all(table: Any, status: str, count: int) -> bool:
    return bool(await table.count(status) == count)
