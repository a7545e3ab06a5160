"""What is counted of tasks: exact where it is answered, bounded whatever callers say, and counted by nobody twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from task_contracts import OTHER_TYPE, Activity, Priority, limits
from task_contracts.lifecycle import CANCELLATION, Event
from task_store import (
    Activities,
    ActivityCounts,
    Capacity,
    Database,
    QueueCounts,
    QueueNow,
    TaskFilter,
    Tasks,
    Workers,
)
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
    counts.happened(ECHO, Event.CREATE, 3)
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


async def test_the_minute_that_runs_is_in_no_rate(activities: Activities, table: Table) -> None:
    counts = ActivityCounts(Clock((await table.now()).timestamp() + 60.0))  # if a minute ends now, it is still none
    counts.happened(ECHO, Event.CREATE, 3)

    await activities.add(counts)

    assert [one.accepted for one in await activities.rates()] == [0, 0, 0]


async def _told_of(url: str, counts: ActivityCounts, act: Callable[[Database], Awaitable[object]]) -> dict[str, int]:
    """Return what was counted of tasks of kind ECHO while `act` used a database that tells."""
    async with Database(url, on_happened=counts.happened) as telling:
        await act(telling)
    taken = counts.take()
    assert {kind for _, kind in taken} <= {ECHO}
    return {name: count for sums in taken.values() for name, count in sums.items() if count}


async def test_what_the_sweep_does_is_counted(store_url: str, table: Table) -> None:
    dead = await table.dead_worker()
    for lost_count in (0, 2, 2):
        await table.running(dead, lost_count=lost_count)
    await table.running(dead, cancel_requested_at=timedelta(minutes=-1))

    counted = await _told_of(store_url, ActivityCounts(), lambda one: Workers(one).sweep([dead], rows=10))

    assert counted == {"failed": 2, "cancelled": 1}


async def test_what_is_rejected_is_counted(store_url: str, table: Table) -> None:
    await table.worker(types=["other"])
    for _ in range(3):
        await table.put(due_at=timedelta(minutes=-5))

    counted = await _told_of(
        store_url, ActivityCounts(), lambda one: Workers(one).reject(timedelta(seconds=30), rows=10)
    )

    assert counted == {"failed": 3}


async def test_a_cancel_of_a_waiting_task_is_counted_once_and_that_of_a_running_one_when_it_is_confirmed(
    store_url: str, table: Table
) -> None:
    waiting, running = await table.put(), await table.running(await table.worker())

    async def cancel(one: Database) -> None:
        for task_id in (waiting, waiting, running):
            await Tasks(one).cancel(task_id)

    assert await _told_of(store_url, ActivityCounts(), cancel) == {"cancelled": 1}


async def test_a_rerun_is_accepted_again(store_url: str, table: Table) -> None:
    failed = await table.put("FAILED")

    async def rerun(one: Database) -> None:
        for _ in range(2):
            await Tasks(one).rerun(failed)

    assert await _told_of(store_url, ActivityCounts(), rerun) == {"accepted": 1}


@pytest.mark.parametrize(
    ("events", "status", "name"), [(CANCELLATION, "NEW", "CANCEL"), ([Event.RERUN], "FAILED", "RERUN")]
)
async def test_what_is_changed_in_bulk_is_told_by_kinds_however_many_tasks_there_are(
    store_url: str, table: Table, events: Sequence[Event], status: str, name: str
) -> None:
    for _ in range(5):
        await table.put(status)
    await table.put(status, priority="HIGH")
    told: list[tuple[Any, Event, int]] = []
    async with Database(store_url, on_happened=lambda *one: told.append(one)) as telling:
        changed = await Tasks(telling).change_many(events, TaskFilter(), items=10)

    assert len(changed.event_by_id) == 6
    assert sorted(told) == [
        (("default", Priority.HIGH, "echo"), Event(name), 1),
        (("default", Priority.MEDIUM, "echo"), Event(name), 5),
    ]


async def test_what_sql_created_is_counted_once_whoever_leads(store_url: str, table: Table) -> None:
    await table.execute(
        "INSERT INTO uncounted_tasks SELECT gen_random_uuid(), 'default', 'MEDIUM', 'echo' FROM generate_series(1, 50)"
    )

    async def take(one: Database) -> None:
        async with Database(store_url, on_happened=counts.happened) as other:
            taking = [Activities(database).take_created(rows=20) for database in (one, other) * 4]
            taken = await asyncio.gather(*taking)
        assert max(map(len, taken)) <= 20
        assert sum(map(len, taken)) == 50

    counts = ActivityCounts()
    assert await _told_of(store_url, counts, take) == {"accepted": 50}


async def test_words_of_callers_make_no_rows_without_end(
    activities: Activities, table: Table, last_minute: Clock
) -> None:
    await table.worker(types=["echo"])
    counts = ActivityCounts(last_minute)
    counts.happened(ECHO, Event.CREATE, 1)
    await activities.add(counts)
    for number in range(20_000):
        counts.happened(("default", Priority.LOW, f"type-{number}"), Event.CREATE, 1)
    counts.happened(ECHO, Event.CREATE, 1)

    assert len(counts._sums) <= 1_002
    await activities.add(counts)

    rows = await table.fetch("SELECT type, accepted FROM activity_minutes ORDER BY type")
    assert [dict(row) for row in rows] == [
        {"type": "echo", "accepted": 2},
        {"type": OTHER_TYPE, "accepted": 20_000},
    ]


async def test_process_that_knows_the_live_types_does_not_ask_for_them(
    database: Database, table: Table, last_minute: Clock
) -> None:
    async def known() -> frozenset[str]:
        return frozenset({"known"})

    await table.worker(types=["echo"])
    counts = ActivityCounts(last_minute)
    for type_ in ("known", "echo"):
        counts.happened(("default", Priority.LOW, type_), Event.CREATE, 1)

    await Activities(database, known).add(counts)

    rows = await table.fetch("SELECT type FROM activity_minutes ORDER BY type")
    assert [row["type"] for row in rows] == ["known", OTHER_TYPE]


async def test_two_processes_that_add_the_same_kinds_never_deadlock(
    activities: Activities, other_database: Database, table: Table, last_minute: Clock
) -> None:
    types = [f"type-{number}" for number in range(60)]
    await table.worker(types=types)

    async def add(where: Activities) -> None:
        counts = ActivityCounts(last_minute)
        for type_ in random.sample(types, len(types)):
            counts.happened(("default", Priority.HIGH, type_), Event.CREATE, 1)
        await where.add(counts)

    for _ in range(20):
        await asyncio.gather(add(activities), add(Activities(other_database)))

    assert (await activities.rates())[1].accepted == 20 * 2 * len(types)


@pytest.mark.parametrize(
    ("rows", "name"), [("activity_minutes", "type"), ("queue_now", "queue")], ids=["what happened", "what waits"]
)
async def test_writers_lock_rows_in_one_order_whatever_that_of_the_counts(
    rows: str,
    name: str,
    database: Database,
    table: Table,
    waiting_for_lock: Callable[[], Awaitable[None]],
    connect: Any,
) -> None:
    await table.worker(types=["a", "b"])
    counted = {"waiting": 1, "waiting_is_capped": False, "oldest_due_at": None, "running": 1, "priority": "LOW"}
    minute = Clock((await table.now()).timestamp())

    async def write() -> None:
        counts = ActivityCounts(minute)
        for one in ("b", "a"):
            counts.happened(("default", Priority.LOW, one), Event.CREATE, 1)
        if rows == "activity_minutes":
            await Activities(database).add(counts)
        else:
            await QueueCounts(database).write([{**counted, "queue": one} for one in ("b", "a")])

    await write()
    holder = await connect()
    async with asyncio.TaskGroup() as group, holder.transaction():
        await holder.execute(f"SELECT FROM {rows} WHERE {name} = 'a' FOR UPDATE")
        group.create_task(write())
        await waiting_for_lock()
        free = await table.fetch(f"SELECT {name} FROM {rows} FOR UPDATE SKIP LOCKED")

    assert [row[name] for row in free] == ["b"]


async def test_a_writer_adds_at_its_end_and_loses_what_has_no_answer(
    activities: Activities, table: Table, last_minute: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    counts = ActivityCounts(last_minute)
    async with ActivityWriter(activities, counts):
        counts.happened(ECHO, Event.CREATE, 1)
    async with Database("postgresql://127.0.0.1:1/tasks", deadline_seconds=0.5) as nowhere:
        counts.happened(ECHO, Event.CREATE, 5)
        with caplog.at_level("INFO"):
            await ActivityWriter(Activities(nowhere), counts).write()
    await activities.add(counts)

    assert [record.message for record in caplog.records] == ["activity_lost"]
    assert (await activities.rates())[1].accepted == 1


async def test_old_counts_are_deleted(activities: Activities, table: Table) -> None:
    now = (await table.now()).timestamp()
    for days in (13, 15, 16):
        counts = ActivityCounts(Clock(now - timedelta(days=days).total_seconds()))
        counts.happened(ECHO, Event.CREATE, 1)
        await activities.add(counts)

    first = [len(await activities.forget(timedelta(days=14), rows=1)) for _ in range(3)]

    assert first == [1, 1, 0]
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


async def test_it_is_told_of_which_priorities_any_task_waits(database: Database, table: Table) -> None:
    await table.put(priority="HIGH")
    await table.put(priority="HIGH", type="another")
    await table.put(priority="LOW", due_at=timedelta(hours=1))
    await table.put(priority="MEDIUM", queue="reports")
    await table.running(await table.worker(), priority="MEDIUM")
    pairs = [*(("default", priority) for priority in Priority), ("reports", Priority.LOW)]

    found = await QueueCounts(database).any_waiting(pairs)

    assert found == {("default", Priority.HIGH), ("default", Priority.LOW)}


async def test_counts_of_what_waits_end_at_the_cap_over_all_types(database: Database, table: Table) -> None:
    for type_ in ("a", "b"):
        await table.fill(limits.TOTAL_MAX // 2, type=type_, priority="LOW")
    full = await QueueCounts(database).waiting("default", Priority.LOW)
    await table.fill(limits.TOTAL_MAX, type="a", priority="LOW")

    more = await QueueCounts(database).waiting("default", Priority.LOW)

    assert (full["waiting"], full["waiting_is_capped"]) == (limits.TOTAL_MAX, False)
    assert (more["waiting"], more["waiting_is_capped"]) == (limits.TOTAL_MAX, True)


async def test_where_what_runs_was_not_counted_it_stays_and_at_says_how_old_it_is(
    database: Database, activities: Activities
) -> None:
    counting = QueueCounts(database)

    async def write(priority: str, waiting: int, running: int | None) -> dict[Priority, QueueNow]:
        row = {"queue": "default", "waiting_is_capped": False, "oldest_due_at": None}
        await counting.write([{**row, "priority": priority, "waiting": waiting, "running": running}])
        return {one.priority: one for one in (await activities.queues_now())[1]}

    first = (await write("HIGH", 5, 3))[Priority.HIGH]
    stale = (await write("HIGH", 9, None))[Priority.HIGH]
    unknown = await write("LOW", 9, None)
    fresh = (await write("HIGH", 8, 1))[Priority.HIGH]

    assert (stale.waiting, stale.running, stale.at) == (9, 3, first.at)
    assert unknown.keys() == {Priority.HIGH}
    assert (fresh.waiting, fresh.running) == (8, 1)
    assert fresh.at > first.at


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

    found: dict[Any, Capacity] = await activities.capacity()

    assert found == {None: Capacity(2, 42), "default": Capacity(2, 42), "reports": Capacity(1, 40)}
