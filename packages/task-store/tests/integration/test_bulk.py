"""Cancelling and rerunning many: what matches is changed once, whoever else is at it, however it is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from task_contracts import Priority, SortOrder, TaskStatus, limits
from task_contracts.lifecycle import CANCELLATION, Event
from task_store import (
    Audit,
    AuditContext,
    ChangedMany,
    ContentionError,
    CountedMany,
    Database,
    StatementEndedError,
    TaskFilter,
    Tasks,
    UnstorableValuesError,
)
from task_store._statements.statement import Statement

RERUN = (Event.RERUN,)
EVERYTHING = TaskFilter()
OLDEST = TaskFilter(order=SortOrder.OLDEST)
WaitingForLock = Callable[..., Awaitable[None]]


async def walk(tasks: Tasks, events: Sequence[Event], wanted: TaskFilter, items: int) -> list[ChangedMany]:
    """Call as often as it takes, first to last."""
    calls = [await tasks.change_many(events, wanted, items=items)]
    while calls[-1].next_after:
        further = replace(wanted, after=calls[-1].next_after)
        calls.append(await tasks.change_many(events, further, items=items, began_at=calls[0].began_at))
    return calls


def changed_ids(calls: Sequence[ChangedMany]) -> list[UUID]:
    return [task_id for call in calls for task_id in call.event_by_id]


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a call read 10 rows."""
    monkeypatch.setattr(limits, "EXAMINED_ROWS_MAX", 10)
    return 10


async def test_cancel_ends_what_waits_asks_what_runs_and_leaves_the_rest(tasks: Tasks, table: Any) -> None:
    ids = {status: await table.put(status, queue=f"of-{status}".lower()) for status in TaskStatus}
    before = {status: await table.task(task_id) for status, task_id in ids.items()}

    changed = await tasks.change_many(CANCELLATION, EVERYTHING, items=10)

    after = {status: await table.task(task_id) for status, task_id in ids.items()}
    assert changed.event_by_id == {
        ids[TaskStatus.NEW]: Event.CANCEL,
        ids[TaskStatus.PENDING]: Event.CANCEL,
        ids[TaskStatus.IN_PROGRESS]: Event.REQUEST_CANCEL,
    }
    assert changed.queues == {"of-new", "of-pending", "of-in_progress"}
    assert changed.next_after is None
    for status in (TaskStatus.NEW, TaskStatus.PENDING):
        assert (after[status]["status"], after[status]["finished_at"]) == ("CANCELLED", changed.began_at)
    running = after[TaskStatus.IN_PROGRESS]
    assert (running["status"], running["cancel_requested_at"]) == ("IN_PROGRESS", changed.began_at)
    assert all(after[status]["version"] == 2 for status in TaskStatus if not status.is_terminal)
    assert all(after[status] == before[status] for status in TaskStatus if status.is_terminal)


async def test_rerun_begins_a_fresh_run_of_what_was_unsuccessful_and_leaves_the_rest(tasks: Tasks, table: Any) -> None:
    ids = {status: await table.put(status) for status in TaskStatus}
    before = {status: await table.task(task_id) for status, task_id in ids.items()}
    unsuccessful = {TaskStatus.FAILED, TaskStatus.CANCELLED}

    changed = await tasks.change_many(RERUN, EVERYTHING, items=10)

    after = {status: await table.task(task_id) for status, task_id in ids.items()}
    assert changed.event_by_id == {ids[status]: Event.RERUN for status in unsuccessful}
    assert changed.queues == {"default"}
    for status in unsuccessful:
        assert (after[status]["status"], after[status]["rerun_count"], after[status]["error"]) == ("PENDING", 1, None)
        assert after[status]["due_at"] == changed.began_at
    assert all(after[status] == before[status] for status in set(TaskStatus) - unsuccessful)


@pytest.mark.parametrize("events", [CANCELLATION, RERUN], ids=["cancel", "rerun"])
async def test_nothing_to_change_is_an_answer_too(events: Sequence[Event], tasks: Tasks, table: Any) -> None:
    await table.put(TaskStatus.COMPLETED)

    changed = await tasks.change_many(events, EVERYTHING, items=10)

    assert (changed.event_by_id, changed.queues, changed.next_after) == ({}, frozenset(), None)
    assert changed.began_at <= await table.now()


@pytest.mark.parametrize("order", SortOrder)
@pytest.mark.parametrize(("count", "sizes"), [(3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
async def test_calls_follow_one_another_in_the_order_of_the_list_and_the_last_says_so(
    order: SortOrder, count: int, sizes: list[int], tasks: Tasks, table: Any
) -> None:
    ids = sorted(await table.fill(count), reverse=order is SortOrder.NEWEST)

    calls = await walk(tasks, CANCELLATION, TaskFilter(order=order), items=4)

    assert [len(call.event_by_id) for call in calls] == sizes
    assert [call.event_by_id.keys() for call in calls] == [set(ids[at : at + 4]) for at in range(0, count, 4)]


async def test_rare_filter_needs_further_calls_each_of_which_reads_no_more_than_it_may(
    tasks: Tasks, table: Any, small_window: int
) -> None:
    needle = await table.put(name="needle")
    await table.fill(35)

    calls = await walk(tasks, CANCELLATION, TaskFilter(name="needle"), items=5)

    assert [list(call.event_by_id) for call in calls] == [[], [], [], [needle]]


async def test_unsuccessful_tasks_are_found_past_any_number_of_others(
    tasks: Tasks, table: Any, small_window: int
) -> None:
    failed = await table.put(TaskStatus.FAILED)
    await table.fill(35)

    assert changed_ids([await tasks.change_many(RERUN, EVERYTHING, items=5)]) == [failed]


@pytest.mark.parametrize(
    "wanted",
    [
        TaskFilter(statuses=frozenset({TaskStatus.FAILED})),
        TaskFilter(priorities=frozenset({Priority.HIGH})),
        TaskFilter(labels=(("customer", "42"),)),
        TaskFilter(type="report.build"),
        TaskFilter(queue="reports"),
        TaskFilter(name="MONTHLY"),
    ],
    ids=["status", "priority", "label", "type", "queue", "name"],
)
async def test_filter_of_the_list_says_which(wanted: TaskFilter, tasks: Tasks, table: Any) -> None:
    columns = {"name": "monthly", "type": "report.build", "queue": "reports", "priority": "HIGH"}
    found = await table.put(TaskStatus.FAILED, labels={"customer": "42"}, **columns)
    await table.put(TaskStatus.CANCELLED, name="say hello")

    assert changed_ids([await tasks.change_many(RERUN, wanted, items=5)]) == [found]


async def test_filter_by_times_of_creation_says_which(tasks: Tasks, table: Any) -> None:
    now = await table.now()
    ids = [await table.put(created_at=timedelta(minutes=-minutes)) for minutes in (30, 20, 10)]
    between = TaskFilter(created_from=now - timedelta(minutes=25), created_to=now - timedelta(minutes=15))

    assert changed_ids([await tasks.change_many(CANCELLATION, between, items=5)]) == [ids[1]]


@pytest.mark.parametrize(
    ("events", "status"), [(CANCELLATION, TaskStatus.COMPLETED), (RERUN, TaskStatus.COMPLETED), (RERUN, TaskStatus.NEW)]
)
async def test_filter_by_a_status_in_which_nothing_can_happen_finds_nothing(
    events: Sequence[Event], status: TaskStatus, tasks: Tasks, table: Any
) -> None:
    for each in TaskStatus:
        await table.put(each)
    wanted = TaskFilter(statuses=frozenset({status}))

    assert changed_ids([await tasks.change_many(events, wanted, items=10)]) == []
    assert sum((await tasks.count_many(events, wanted)).count_by_event.values()) == 0


async def test_repeated_cancel_changes_nothing_more(tasks: Tasks, table: Any) -> None:
    ids = [await table.put(TaskStatus.PENDING), await table.running(await table.worker())]
    first = await tasks.change_many(CANCELLATION, EVERYTHING, items=10)
    before = [await table.task(task_id) for task_id in ids]

    again = await tasks.change_many(CANCELLATION, EVERYTHING, items=10, began_at=first.began_at)

    assert len(first.event_by_id) == 2
    assert again.event_by_id == {}
    assert [await table.task(task_id) for task_id in ids] == before


async def test_repeated_rerun_leaves_what_has_failed_again_since_the_first_call(tasks: Tasks, table: Any) -> None:
    failed = await table.put(TaskStatus.FAILED)
    first = await tasks.change_many(RERUN, EVERYTHING, items=10)
    error = {"code": "failed", "message": "again", "type": None}
    await table.set("tasks", failed, status="FAILED", error=error, finished_at=timedelta())

    again = await tasks.change_many(RERUN, EVERYTHING, items=10, began_at=first.began_at)
    counted = await tasks.count_many(RERUN, EVERYTHING, began_at=first.began_at)
    anew = await tasks.change_many(RERUN, EVERYTHING, items=10)

    assert (first.event_by_id, again.event_by_id) == ({failed: Event.RERUN}, {})
    assert again.began_at == first.began_at
    assert counted == CountedMany({Event.RERUN: 0}, is_capped=False, began_at=first.began_at)
    assert anew.event_by_id == {failed: Event.RERUN}


@pytest.mark.parametrize(
    ("wanted", "change"),
    [
        (
            TaskFilter(statuses=frozenset({TaskStatus.NEW, TaskStatus.PENDING})),
            "status = 'IN_PROGRESS', attempt = 1, started_at = now(), worker_id = id, lease_token = id",
        ),
        (
            TaskFilter(queue="default"),
            "status = 'COMPLETED', started_at = now(), worker_id = id, lease_token = id, finished_at = now()",
        ),
        (TaskFilter(priorities=frozenset({Priority.MEDIUM})), "priority = 'HIGH'"),
    ],
    ids=["claimed", "completed", "of another priority"],
)
async def test_task_that_matches_no_longer_once_it_is_locked_is_left_and_the_call_goes_past_it(
    wanted: TaskFilter, change: str, tasks: Tasks, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    ids, other = await table.fill(3), await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute(f"UPDATE tasks SET {change} WHERE id = $1", ids[1])
        cancelling = group.create_task(tasks.change_many(CANCELLATION, wanted, items=2))
        await waiting_for_lock()

    assert cancelling.result().event_by_id == {ids[2]: Event.CANCEL}
    assert cancelling.result().next_after == ids[1]
    assert (await table.task(ids[1]))["cancel_requested_at"] is None


async def test_task_that_was_claimed_after_it_was_picked_is_asked_to_stop(
    tasks: Tasks, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    task_id, other = await table.put(), await connect()
    claim = "status = 'IN_PROGRESS', attempt = 1, started_at = now(), worker_id = id, lease_token = id"

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute(f"UPDATE tasks SET {claim} WHERE id = $1", task_id)
        cancelling = group.create_task(tasks.change_many(CANCELLATION, EVERYTHING, items=2))
        await waiting_for_lock()

    assert cancelling.result().event_by_id == {task_id: Event.REQUEST_CANCEL}


async def test_task_that_was_purged_after_it_was_picked_is_gone(
    tasks: Tasks, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    task_id, other = await table.put(TaskStatus.FAILED), await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("DELETE FROM tasks WHERE id = $1", task_id)
        rerunning = group.create_task(tasks.change_many(RERUN, EVERYTHING, items=2))
        await waiting_for_lock()

    assert rerunning.result().event_by_id == {}


@pytest.mark.parametrize("events", [CANCELLATION, RERUN], ids=["cancel", "rerun"])
async def test_calls_at_one_moment_change_each_task_once(
    events: Sequence[Event], tasks: Tasks, other_database: Database, table: Any
) -> None:
    for _ in range(30):
        if events == RERUN:
            ids = [await table.put(TaskStatus.FAILED) for _ in range(12)]
        else:
            ids = await table.fill(12)

        calls = await asyncio.gather(
            *(
                one.change_many(events, wanted, items=12)
                for wanted in (EVERYTHING, OLDEST)
                for one in (tasks, Tasks(other_database))
            )
        )

        assert sorted(changed_ids(calls)) == sorted(ids)
        assert {(await table.task(task_id))["version"] for task_id in ids} == {2}
        await table.clear()


async def test_calls_in_opposite_orders_lock_in_one_order(
    database: Database, table: Any, connect: Any, waiting_for_lock: WaitingForLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So they meet no deadlock, which the repeat would hide."""
    monkeypatch.setattr(Tasks, "_fetch_bulk", lambda tasks, statement: tasks._database.fetch(statement))
    ids, other = await table.fill(3), await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", ids[1])
        calls = [
            group.create_task(Tasks(database).change_many(CANCELLATION, wanted, items=3))
            for wanted in (EVERYTHING, OLDEST)
        ]
        await waiting_for_lock(2)

    assert sorted(changed_ids([call.result() for call in calls])) == ids


async def test_count_says_what_would_happen_and_changes_nothing(tasks: Tasks, table: Any) -> None:
    ids = [await table.put(status) for status in TaskStatus]
    await table.running(await table.worker(), cancel_requested_at=timedelta())
    before = [await table.task(task_id) for task_id in ids]

    to_cancel = await tasks.count_many(CANCELLATION, EVERYTHING)
    to_rerun = await tasks.count_many(RERUN, EVERYTHING)

    assert (to_cancel.count_by_event, to_cancel.is_capped) == ({Event.CANCEL: 2, Event.REQUEST_CANCEL: 1}, False)
    assert (to_rerun.count_by_event, to_rerun.is_capped) == ({Event.RERUN: 2}, False)
    assert to_cancel.began_at < to_rerun.began_at <= await table.now()
    assert [await table.task(task_id) for task_id in ids] == before


async def test_count_is_capped_where_more_match(tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOTAL_MAX", 3)
    await table.fill(3)
    exact = await tasks.count_many(CANCELLATION, EVERYTHING)
    await table.running(await table.worker())

    capped = await tasks.count_many(CANCELLATION, EVERYTHING)

    assert (exact.is_capped, capped.is_capped) == (False, True)


async def test_count_is_capped_where_rows_were_left_unexamined(tasks: Tasks, table: Any, small_window: int) -> None:
    await table.put(name="needle")
    await table.fill(small_window)

    counted = await tasks.count_many(CANCELLATION, TaskFilter(name="needle"))

    assert (counted.count_by_event[Event.CANCEL], counted.is_capped) == (0, True)


async def test_calls_take_fewer_tasks_after_one_that_the_server_ended(
    database: Database, table: Any, connect: Any
) -> None:
    await table.fill(limits.BULK_ITEMS_MAX + 1)
    other = await connect()
    async with Database(database.url, statement_timeout_seconds=0.3) as impatient:
        tasks = Tasks(impatient)
        async with other.transaction():
            await other.execute("SELECT 1 FROM tasks FOR UPDATE")
            with pytest.raises(StatementEndedError):
                await tasks.change_many(CANCELLATION, EVERYTHING, items=limits.BULK_ITEMS_MAX)

        tasks._database = database
        calls = [await tasks.change_many(CANCELLATION, EVERYTHING, items=limits.BULK_ITEMS_MAX) for _ in range(2)]

    assert [len(call.event_by_id) for call in calls] == [limits.BULK_ITEMS_MAX // 2, limits.BULK_ITEMS_MAX // 2 + 1]


class Contended:
    """A database on which the first statements meet a deadlock."""

    def __init__(self, database: Database, deadlocks: int) -> None:
        self._database = database
        self._deadlocks = deadlocks

    async def fetch(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Sequence[Mapping[str, Any]]:
        if self._deadlocks:
            self._deadlocks -= 1
            raise ContentionError("a deadlock")
        return await self._database.fetch(statement, values)


async def test_call_that_meets_a_deadlock_is_repeated_once(database: Database, table: Any) -> None:
    task_id = await table.put()
    unlucky: Any = Contended(database, deadlocks=1)
    doomed: Any = Contended(database, deadlocks=2)

    with pytest.raises(ContentionError):
        await Tasks(doomed).change_many(CANCELLATION, EVERYTHING, items=5)
    changed = await Tasks(unlucky).change_many(CANCELLATION, EVERYTHING, items=5)

    assert changed.event_by_id == {task_id: Event.CANCEL}


async def test_time_of_the_first_call_is_the_databases(tasks: Tasks, table: Any) -> None:
    before: datetime = await table.now()

    changed = await tasks.change_many(RERUN, EVERYTHING, items=5)

    assert before < changed.began_at < await table.now()


async def test_each_call_writes_one_act_with_what_it_has_changed(tasks: Tasks, table: Any, database: Database) -> None:
    for _ in range(3):
        await table.put()
    context = AuditContext("operator", "request-1", {"queue": "default"})

    calls = [await tasks.change_many(CANCELLATION, EVERYTHING, items=2, audit=context) for _ in range(3)]
    await tasks.change_many(RERUN, EVERYTHING, items=10)
    await tasks.count_many(CANCELLATION, EVERYTHING)

    entries, _ = await Audit(database).page(items=10)
    assert [len(call.event_by_id) for call in calls] == [2, 1, 0]
    assert [(one.action, one.actor, one.request_id, one.filter, one.count) for one in entries] == [
        ("tasks.rerun", "", None, None, 3),
        ("tasks.cancel", "operator", "request-1", {"queue": "default"}, 0),
        ("tasks.cancel", "operator", "request-1", {"queue": "default"}, 1),
        ("tasks.cancel", "operator", "request-1", {"queue": "default"}, 2),
    ]


async def test_change_whose_act_cannot_be_written_takes_no_place(tasks: Tasks, table: Any) -> None:
    task_id = await table.put()
    await table.connection.execute(
        "ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (actor <> 'operator') NOT VALID"
    )
    try:
        with pytest.raises(UnstorableValuesError):
            await tasks.change_many(CANCELLATION, EVERYTHING, items=10, audit=AuditContext("operator"))
    finally:
        await table.connection.execute("ALTER TABLE audit_log DROP CONSTRAINT full_disk")

    assert (await table.task(task_id))["status"] == "NEW"
