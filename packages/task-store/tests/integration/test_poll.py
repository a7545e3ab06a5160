"""The poll: claims straight from the table, by weights, of tasks that have been due for a while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from task_contracts import Priority
from task_store import Claim, Claims, Database, Offer

Poll = Callable[..., Awaitable[Sequence[Claim]]]


async def test_poll_takes_what_is_overdue_dispatched_or_not(claims: Claims, table: Any, poll: Poll) -> None:
    overdue = timedelta(seconds=-3)
    ids = {
        await table.put(due_at=overdue),
        await table.put(due_at=overdue, status="PENDING"),
        await table.put(due_at=overdue, status="PENDING", dispatched_at=overdue),
    }
    await table.put(due_at=timedelta(seconds=-1))
    await table.put(due_at=timedelta(seconds=30))

    claimed = await poll(claims, await table.worker(), 10)

    assert {claim.id for claim in claimed} == ids
    assert len({claim.lease_token for claim in claimed}) == 1


async def test_poll_leaves_suspects_other_types_and_other_queues(claims: Claims, table: Any, poll: Poll) -> None:
    await table.put(lost_count=2)
    await table.put(type="other")
    await table.put(queue="reports")
    await table.running(await table.dead_worker())

    assert await poll(claims, await table.worker(), 10) == []


async def test_poll_gives_nothing_to_a_worker_without_a_lease(claims: Claims, table: Any, poll: Poll) -> None:
    await table.put()

    assert await poll(claims, await table.dead_worker(), 10) == []
    assert await poll(claims, await table.worker(expires_at=timedelta(seconds=-1)), 10) == []


async def test_priority_that_waits_alone_gets_all_slots(claims: Claims, table: Any, poll: Poll) -> None:
    worker = await table.worker()
    await table.fill(30, priority="LOW")

    assert len(await poll(claims, worker, 10)) == 10
    assert len(await poll(claims, worker, 50)) == 20


async def test_longest_due_of_a_priority_goes_first_whatever_its_queue_and_type(
    database: Database, table: Any, weights: Mapping[Priority, int], poll: Poll
) -> None:
    offer = Offer(("default", "reports"), {"a": None, "b": None})
    claims = Claims(database, database, database, offer, weights)
    worker = await table.worker()
    lanes = [(queue, type_) for queue in offer.queues for type_ in offer.types] * 3
    ids = [
        await table.put(queue=queue, type=type_, priority="LOW", due_at=timedelta(seconds=place - 100))
        for place, (queue, type_) in enumerate(lanes)
    ]

    turns = [{claim.id for claim in await poll(claims, worker, 4)} for _ in range(3)]

    assert turns == [set(ids[:4]), set(ids[4:8]), set(ids[8:])]


async def test_slots_are_shared_by_the_weights_while_all_priorities_wait(
    claims: Claims, table: Any, poll: Poll
) -> None:
    for priority in Priority:
        await table.fill(700, priority=priority)

    claimed = Counter(claim.priority for claim in await poll(claims, await table.worker(), 1000))

    # Of 1,000 turns 600, 300 and 100 are expected; the bounds lie five standard deviations away.
    assert 522 < claimed[Priority.HIGH] < 678
    assert 227 < claimed[Priority.MEDIUM] < 373
    assert 52 < claimed[Priority.LOW] < 148


async def test_low_keeps_its_share_where_slots_come_free_one_at_a_time(claims: Claims, table: Any, poll: Poll) -> None:
    worker = await table.worker()
    for priority in Priority:
        await table.fill(300, priority=priority)

    picks = [await poll(claims, worker, 1) for _ in range(300)]

    claimed = Counter(claim.priority for pick in picks for claim in pick)
    assert claimed.total() == 300
    assert 4 < claimed[Priority.LOW] < 56
    assert claimed[Priority.HIGH] > claimed[Priority.MEDIUM]
