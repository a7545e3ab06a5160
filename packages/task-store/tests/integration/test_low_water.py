"""Scans from a low-water time on: they lose no task that an earlier one saw, and whole scans find the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from task_contracts import Priority, TaskUpdate
from task_store import Claims, Dispatches, DispatchQuota, LiveOffers, Tasks
from task_store.dispatches import Marked
from task_store.low_water import LowWater
from task_store.scan_pace import ScanPace

Connect = Callable[[], Awaitable[Any]]
Poll = Callable[..., Awaitable[Any]]
OVERDUE = timedelta(seconds=2)
OFFERS = LiveOffers({"default": ("echo", "build")}, {"default": 1})
MEDIUM = [DispatchQuota("default", Priority.MEDIUM, 5)]


@pytest.fixture(autouse=True)
def every_scan_is_too_expensive(claims: Claims, dispatches: Dispatches) -> None:
    claims._low_water = LowWater(ScanPace(cheap_seconds=0))
    dispatches._low_water = LowWater(ScanPace(cheap_seconds=0))


def ids_of(marked: Marked) -> list[UUID]:
    return [task.id for tasks in marked.values() for task in tasks]


async def test_mark_goes_on_where_the_last_one_ended(dispatches: Dispatches, table: Any) -> None:
    ids = [await table.put(due_at=timedelta(seconds=place - 100)) for place in range(12)]

    turns = [ids_of(await dispatches.mark(MEDIUM, OFFERS)) for _ in range(4)]

    assert turns == [ids[:5], ids[5:10], ids[10:], []]


async def test_what_becomes_visible_below_the_low_water_time_is_found_by_a_whole_mark(
    dispatches: Dispatches, table: Any
) -> None:
    await dispatches.mark(MEDIUM, OFFERS)
    late = await table.put(due_at=timedelta(minutes=-10))

    by_mark = ids_of(await dispatches.mark(MEDIUM, OFFERS))
    is_due = dispatches.is_whole_due(MEDIUM, OFFERS)
    by_whole = ids_of(await dispatches.mark_whole(MEDIUM, OFFERS))

    assert (by_mark, is_due, by_whole) == ([], True, [late])


async def test_row_that_was_locked_is_marked_later_however_many_came_after_it(
    dispatches: Dispatches, table: Any, connect: Connect
) -> None:
    ids = [await table.put(due_at=timedelta(seconds=place - 100)) for place in range(8)]
    other = await connect()
    async with other.transaction():
        await other.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", ids[1])
        while_locked = [*ids_of(await dispatches.mark(MEDIUM, OFFERS)), *ids_of(await dispatches.mark(MEDIUM, OFFERS))]

    afterwards = ids_of(await dispatches.mark(MEDIUM, OFFERS))

    assert while_locked == [ids[0], *ids[2:]]
    assert afterwards == [ids[1]]


async def test_lane_that_others_keep_from_its_turn_is_not_forgotten(dispatches: Dispatches, table: Any) -> None:
    await dispatches.mark(MEDIUM, OFFERS)
    busy = [await table.put(due_at=timedelta(seconds=place)) for place in range(-2, 3)]
    for task_id in busy:
        await table.set("tasks", task_id, due_at=timedelta(seconds=-2))
    quiet = await table.put(type="build", due_at=timedelta(seconds=-1))

    first = ids_of(await dispatches.mark(MEDIUM, OFFERS))
    second = ids_of(await dispatches.mark(MEDIUM, OFFERS))

    assert (set(first), second) == (set(busy), [quiet])


async def test_new_type_is_left_to_a_whole_mark(dispatches: Dispatches, table: Any) -> None:
    await dispatches.mark(MEDIUM, OFFERS)
    task_id = await table.put(type="new", due_at=timedelta(minutes=-10))
    offers = LiveOffers({"default": ("echo", "build", "new")}, {"default": 1})

    by_mark = ids_of(await dispatches.mark(MEDIUM, offers))
    is_due = dispatches.is_whole_due(MEDIUM, offers)
    by_whole = ids_of(await dispatches.mark_whole(MEDIUM, offers))

    assert (by_mark, is_due, by_whole) == ([], True, [task_id])


async def test_poll_goes_on_from_the_first_task_that_waits(claims: Claims, table: Any, poll: Poll) -> None:
    worker = await table.worker()
    ids = [await table.put(due_at=timedelta(seconds=place - 100)) for place in range(7)]

    turns = [[claim.id for claim in await poll(claims, worker, 3)] for _ in range(4)]

    assert [set(turn) for turn in turns] == [set(ids[:3]), set(ids[3:6]), {ids[6]}, set()]


async def test_what_becomes_visible_below_the_low_water_time_is_found_in_the_whole(
    claims: Claims, table: Any, poll: Poll
) -> None:
    worker = await table.worker()
    await poll(claims, worker, 3)
    late = await table.put(due_at=timedelta(minutes=-10))

    by_poll = await poll(claims, worker, 3)

    assert (by_poll, claims.is_whole_due) == ([], True)
    assert await claims.find_in_whole(slots=3, overdue=OVERDUE) == [late]


async def test_task_that_changes_its_priority_is_not_below_the_low_water_time_of_its_new_lane(
    dispatches: Dispatches, tasks: Tasks, table: Any
) -> None:
    quotas = [DispatchQuota("default", priority, 5) for priority in Priority]
    task_id = await table.put(priority="LOW", due_at=timedelta(minutes=-10))
    await dispatches.mark(quotas, OFFERS)

    await tasks.reschedule(task_id, TaskUpdate(priority=Priority.HIGH))

    assert ids_of(await dispatches.mark(quotas, OFFERS)) == [task_id]
