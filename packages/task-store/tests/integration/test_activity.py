"""What is counted of tasks: exact where it is answered, bounded whatever callers say, and counted by nobody twice."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from task_contracts import OTHER_TYPE, Activity, Priority
from task_contracts.lifecycle import Event
from task_store import Activities, ActivityCounts, Database, LiveWorkers, QueueCounts
from task_store._statements import activity
from task_store.activity import ActivityWriter
from task_store.testing import Table

ECHO = ("default", Priority.MEDIUM, "echo")
LAST_MINUTE = -61.0


class Clock:
    """The time of the database, some seconds earlier or later."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def last_minute(table: Table) -> Clock:
    return Clock((await table.now()).timestamp() + LAST_MINUTE)


@pytest.fixture
def activities(database: Database) -> Activities:
    return Activities(database)


async def test_what_happened_is_told_by_spans(activities: Activities, table: Table, last_minute: Clock) -> None:
    await table.worker(types=["echo"])
    counts = ActivityCounts(last_minute)
    counts.accepted(ECHO, 3)
    for _ in range(2):
        counts.started(ECHO, 0.25)
    counts.ended(ECHO, Event.COMPLETE, 2.0, 3.0)
    counts.ended(ECHO, Event.RETRY, 1.0, 3.0)
    counts.ended(ECHO, Event.CONFIRM_CANCEL, 9.0, 9.0)
    counts.ended(ECHO, Event.SNOOZE, 9.0, 9.0)

    await activities.add(counts)
    await activities.add(counts)  # has nothing more

    (_, five, fifteen) = await activities.rates()
    expected = {
        "accepted": 3,
        "started": 2,
        "completed": 1,
        "failed": 0,
        "cancelled": 1,
        "retried": 1,
        "mean_wait_seconds": 0.25,
        "mean_run_seconds": 1.5,
    }
    assert five == Activity(seconds=300, **expected)
    assert fifteen == Activity(seconds=900, **expected)
    assert (await activities.rates("default"))[1] == five
    assert (await activities.rates("elsewhere"))[1] == Activity(seconds=300)


async def test_words_of_callers_make_no_rows_without_end(
    activities: Activities, table: Table, last_minute: Clock
) -> None:
    await table.worker(types=["echo"])
    counts = ActivityCounts(last_minute)
    counts.accepted(ECHO, 1)
    await activities.add(counts)
    for number in range(20_000):
        counts.accepted(("default", Priority.LOW, f"type-{number}"), 1)
    counts.accepted(ECHO, 1)

    assert len(counts._sums) <= 1_002
    await activities.add(counts)

    rows = await table.fetch("SELECT type, accepted FROM activity_minutes ORDER BY type")
    assert [dict(row) for row in rows] == [
        {"type": "echo", "accepted": 2},
        {"type": OTHER_TYPE, "accepted": 20_000},
    ]


async def test_two_processes_that_add_the_same_kinds_never_deadlock(
    activities: Activities, other_database: Database, table: Table, last_minute: Clock
) -> None:
    types = [f"type-{number}" for number in range(60)]
    await table.worker(types=types)

    async def add(where: Activities) -> None:
        counts = ActivityCounts(last_minute)
        for type_ in random.sample(types, len(types)):
            counts.accepted(("default", Priority.HIGH, type_), 1)
        await where.add(counts)

    for _ in range(20):
        await asyncio.gather(add(activities), add(Activities(other_database)))

    assert (await activities.rates())[1].accepted == 20 * 2 * len(types)


async def test_a_writer_adds_at_its_end_and_loses_what_has_no_answer(
    activities: Activities, table: Table, last_minute: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    counts = ActivityCounts(last_minute)
    async with ActivityWriter(activities, counts):
        counts.accepted(ECHO, 1)
    async with Database("postgresql://127.0.0.1:1/tasks", deadline_seconds=0.5) as nowhere:
        counts.accepted(ECHO, 5)
        with caplog.at_level("INFO"):
            await ActivityWriter(Activities(nowhere), counts).write()
    await activities.add(counts)

    assert [record.message for record in caplog.records] == ["activity_lost"]
    assert (await activities.rates())[1].accepted == 1


async def test_old_counts_are_deleted(activities: Activities, table: Table) -> None:
    now = (await table.now()).timestamp()
    for days in (13, 15):
        counts = ActivityCounts(Clock(now - timedelta(days=days).total_seconds()))
        counts.accepted(ECHO, 1)
        await activities.add(counts)

    await activities.forget()

    assert len(await table.fetch("SELECT FROM activity_minutes")) == 1


async def test_what_waits_is_counted_by_priority(database: Database, activities: Activities, table: Table) -> None:
    counting = QueueCounts(database)
    oldest = timedelta(minutes=-5)
    await table.put(priority="HIGH", type="a", due_at=oldest, created_at=oldest)
    await table.fill(20, priority="HIGH", type="b")
    await table.put(priority="HIGH", due_at=timedelta(hours=1))
    await table.put(priority="LOW")
    await table.put(priority="HIGH", queue="reports")
    worker = await table.worker()
    await table.running(worker, priority="HIGH")

    running = await counting.running()
    counted = [await counting.waiting("default", priority) for priority in Priority]
    await counting.write({**one, "running": running.get((one["queue"], one["priority"]), 0)} for one in counted)
    now, found = await activities.queues_now()

    by_priority = {one.priority: one for one in found}
    high, low = by_priority[Priority.HIGH], by_priority[Priority.LOW]
    assert (high.waiting, high.waiting_is_capped, high.running) == (21, False, 1)
    assert high.oldest_due_at is not None
    assert 290 < (now - high.oldest_due_at).total_seconds() < 330
    assert (low.waiting, low.running) == (1, 0)
    assert by_priority[Priority.MEDIUM].oldest_due_at is None


async def test_a_million_types_are_not_walked(database: Database, table: Table) -> None:
    await table.execute(
        "INSERT INTO tasks (id, name, type, queue, priority, payload_bytes, status, created_at, due_at)"
        " SELECT gen_random_uuid(), 'a', 'type-' || n, 'default', 'LOW', 2, 'NEW', now(), now()"
        " FROM generate_series(1, 3000) AS n"
    )

    counted = await QueueCounts(database).waiting("default", Priority.LOW)

    assert (counted["waiting"], counted["waiting_is_capped"]) == (activity.TYPES_MAX + 1, True)


async def test_live_workers_and_their_slots(activities: Activities, table: Table) -> None:
    await table.worker(queues=["default", "reports"], slots=40)
    await table.worker(queues=["default"], slots=2)
    await table.dead_worker(queues=["default"], slots=9)

    found: dict[Any, LiveWorkers] = await activities.live_workers()

    assert found == {None: LiveWorkers(2, 42), "default": LiveWorkers(2, 42), "reports": LiveWorkers(1, 40)}
