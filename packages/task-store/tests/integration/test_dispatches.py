"""Dispatch: which tasks the leader marks for each broker queue, and when the next one is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from task_contracts import Priority, TaskUpdate
from task_store import Database, Dispatches, DispatchQuota, LiveOffers
from task_store._driver_statement import driver_statement
from task_store._statements import dispatch
from task_store.dispatches import _lanes, _values
from task_store.low_water import BEGINNING

HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW
OFFERS = LiveOffers({"default": ("a", "b"), "reports": ("a",)}, {"default": 1, "reports": 1})


async def mark(
    dispatches: Dispatches, quotas: Sequence[DispatchQuota], offers: LiveOffers
) -> dict[tuple[str, Priority], list[UUID]]:
    marked = await dispatches.mark(quotas, offers)
    return {lane: [task.id for task in tasks] for lane, tasks in marked.items()}


async def test_each_broker_queue_is_filled_up_to_its_own_quota(dispatches: Dispatches, table: Any) -> None:
    for queue in ("default", "reports"):
        for priority in Priority:
            await table.fill(20, queue=queue, priority=priority, type="a")
    quotas = [
        DispatchQuota("default", HIGH, 3),
        DispatchQuota("default", LOW, 7),
        DispatchQuota("reports", HIGH, 0),
        DispatchQuota("reports", MEDIUM, 50),
    ]

    marked = await mark(dispatches, quotas, OFFERS)

    sizes = {lane: len(ids) for lane, ids in marked.items()}
    assert sizes == {("default", HIGH): 3, ("default", LOW): 7, ("reports", MEDIUM): 20}
    assert all(isinstance(priority, Priority) for _, priority in marked)


async def test_longest_due_of_a_broker_queue_is_marked_first_whatever_its_type(
    dispatches: Dispatches, table: Any
) -> None:
    ids = [
        await table.put(type=type_, due_at=timedelta(seconds=place - 100)) for place, type_ in enumerate("babaabbabaab")
    ]

    turns = [(await mark(dispatches, [DispatchQuota("default", MEDIUM, 5)], OFFERS)) for _ in range(4)]

    assert [turn.get(("default", MEDIUM), []) for turn in turns] == [ids[:5], ids[5:10], ids[10:], []]


async def test_what_is_not_due_not_offered_suspect_or_marked_is_left(dispatches: Dispatches, table: Any) -> None:
    good = await table.put(type="a")
    for columns in (
        {"due_at": timedelta(seconds=30)},
        {"type": "unknown"},
        {"queue": "reports", "type": "b"},
        {"queue": "elsewhere"},
        {"lost_count": 2},
        {"status": "PENDING", "dispatched_at": timedelta(seconds=-1)},
        {"status": "IN_PROGRESS"},
    ):
        await table.put(**{"type": "a", **columns})
    quotas = [DispatchQuota(queue, MEDIUM, 50) for queue in ("default", "reports", "elsewhere")]

    assert await mark(dispatches, quotas, OFFERS) == {("default", MEDIUM): [good]}


async def test_second_mark_finds_nothing(dispatches: Dispatches, table: Any) -> None:
    await table.fill(5, type="a")
    quotas = [DispatchQuota("default", MEDIUM, 50)]

    first, second = await mark(dispatches, quotas, OFFERS), await mark(dispatches, quotas, OFFERS)

    assert len(first["default", MEDIUM]) == 5
    assert second == {}


async def test_without_quotas_or_offers_nothing_is_marked(dispatches: Dispatches, table: Any) -> None:
    await table.fill(5, type="a")

    assert await mark(dispatches, [], OFFERS) == {}
    assert await mark(dispatches, [DispatchQuota("default", MEDIUM, 50)], LiveOffers({}, {})) == {}
    assert await dispatches.next_due([], OFFERS) is None
    assert await dispatches.next_due([DispatchQuota("default", MEDIUM, 50)], LiveOffers({}, {})) is None


async def test_row_that_somebody_else_holds_is_stepped_past(dispatches: Dispatches, table: Any, connect: Any) -> None:
    held, free = [await table.put(type="a", due_at=timedelta(seconds=place - 100)) for place in range(2)]
    other = await connect()

    async with other.transaction():
        await other.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", held)
        marked = await mark(dispatches, [DispatchQuota("default", MEDIUM, 2)], OFFERS)

    assert marked == {("default", MEDIUM): [free]}


async def test_next_due_is_that_of_the_next_task_which_may_be_marked(dispatches: Dispatches, table: Any) -> None:
    for columns in (
        {"type": "unknown"},
        {"priority": "LOW"},
        {"priority": "HIGH"},
        {"lost_count": 2},
        {"status": "PENDING", "dispatched_at": timedelta(seconds=-1)},
        {"due_at": timedelta(seconds=90)},
        {"due_at": timedelta(seconds=60), "type": "b"},
    ):
        await table.put(**{"type": "a", "due_at": timedelta(seconds=30), **columns})
    quotas = [DispatchQuota("default", MEDIUM, 1), DispatchQuota("default", LOW, 0), DispatchQuota("reports", HIGH, 5)]

    until = await dispatches.next_due(quotas, OFFERS)

    assert timedelta(seconds=50) < until <= timedelta(seconds=60)


async def test_next_due_of_what_is_due_already_is_not_in_the_future(dispatches: Dispatches, table: Any) -> None:
    quotas = [DispatchQuota("default", MEDIUM, 1)]
    nothing = await dispatches.next_due(quotas, OFFERS)
    await table.put(type="a")

    assert nothing is None
    assert await dispatches.next_due(quotas, OFFERS) < timedelta()


async def test_rescheduled_task_is_marked_anew_in_its_new_broker_queue(
    dispatches: Dispatches, table: Any, tasks: Any
) -> None:
    quotas = [DispatchQuota("default", priority, 5) for priority in Priority]
    task_id = await table.put(type="a", priority="LOW")
    first = await mark(dispatches, quotas, OFFERS)

    await tasks.reschedule(task_id, TaskUpdate(priority=HIGH))

    assert first == {("default", LOW): [task_id]}
    assert await mark(dispatches, quotas, OFFERS) == {("default", HIGH): [task_id]}


async def test_ids_that_nobody_has_are_no_ones(dispatches: Dispatches, table: Any) -> None:
    await table.running(uuid4())

    assert await mark(dispatches, [DispatchQuota("default", MEDIUM, 5)], OFFERS) == {}


async def test_the_commit_of_a_mark_alone_does_not_wait_for_the_disk(database: Database, table: Any) -> None:
    quotas = [DispatchQuota("default", MEDIUM, 5)]
    sent = driver_statement(dispatch.MARK.sql)
    arguments = sent.arguments(_values(quotas, dict.fromkeys(_lanes(quotas, OFFERS), BEGINNING)))
    task = await table.put(type="a")
    async with database._engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        await connection.execute(text("SET SESSION synchronous_commit = on"))
        (row,) = (await connection.exec_driver_sql(sent.text, tuple(arguments))).mappings().all()
        in_mark = (await connection.execute(text("SHOW synchronous_commit"))).scalar()
        await connection.commit()
        after = (await connection.execute(text("SHOW synchronous_commit"))).scalar()
        await connection.invalidate()

    assert (row["id"], row["is_marked"], in_mark, after) == (task, True, "off", "on")
