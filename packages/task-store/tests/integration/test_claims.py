"""Claims of delivered ids and of suspects, and what a claim returns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from task_contracts import Priority, TaskError
from task_store import Attempts, Claim, Database, Ending, NewTask, Offer, Tasks, new_lease_token

OVERDUE = timedelta(seconds=2)


async def test_claim_brings_all_that_a_handler_and_its_context_need(
    attempts: Attempts, tasks: Tasks, table: Any, new_task: Callable[..., NewTask]
) -> None:
    worker, token = await table.worker(), new_lease_token()
    payload = {"lines": [1, None, "x"]}
    new = new_task(
        name="count words",
        type="echo",
        priority=Priority.HIGH,
        labels={"customer": "42"},
        payload=payload,
        timeout_seconds=2.5,
        max_attempts=4,
    )
    task = await tasks.create(new)

    claimed = await attempts.claim(worker, [task.id], token)

    assert claimed == [
        Claim(
            id=task.id,
            name="count words",
            type="echo",
            queue="default",
            priority=Priority.HIGH,
            labels={"customer": "42"},
            payload=payload,
            attempt=1,
            failures=0,
            timeout_seconds=2.5,
            max_attempts=4,
            lease_token=token,
        )
    ]
    assert isinstance(claimed[0].priority, Priority)


async def test_one_claim_takes_many_under_one_token(attempts: Attempts, table: Any) -> None:
    worker, token = await table.worker(), new_lease_token()
    ids = await table.fill(50)

    claimed = await attempts.claim(worker, ids, token)

    assert {claim.id for claim in claimed} == set(ids)
    held = await table.fetch("SELECT DISTINCT lease_token, worker_id, attempt, status FROM tasks")
    assert held == [{"lease_token": token, "worker_id": worker, "attempt": 1, "status": "IN_PROGRESS"}]


async def test_claim_takes_of_its_ids_those_that_it_may_and_leaves_the_others(attempts: Attempts, table: Any) -> None:
    worker = await table.worker()
    good = {await table.put(), await table.put(dispatched_at=timedelta(seconds=-1), status="PENDING")}
    others = [
        await table.put(due_at=timedelta(seconds=30)),
        await table.put(type="other"),
        await table.put(queue="reports"),
        await table.put(lost_count=2),
        await table.running(uuid4()),
        await table.put(status="COMPLETED"),
        uuid4(),
    ]
    asked = [*good, *others]

    claimed = await attempts.claim(worker, asked, new_lease_token())

    assert {claim.id for claim in claimed} == good


async def test_claim_of_nothing_returns_nothing(attempts: Attempts, table: Any) -> None:
    assert await attempts.claim(await table.worker(), [], new_lease_token()) == []


async def test_id_that_is_named_twice_is_claimed_once(attempts: Attempts, table: Any) -> None:
    task_id = await table.put()

    claimed = await attempts.claim(await table.worker(), [task_id, task_id], new_lease_token())

    assert [(claim.id, claim.attempt) for claim in claimed] == [(task_id, 1)]


async def test_claimed_task_is_not_claimed_again(attempts: Attempts, table: Any) -> None:
    worker, task_id = await table.worker(), await table.put()
    await attempts.claim(worker, [task_id], new_lease_token())
    before = await table.task(task_id)

    assert await attempts.claim(worker, [task_id], new_lease_token()) == []
    assert await table.task(task_id) == before


async def test_attempts_are_counted_up_through_releases_and_reruns(
    attempts: Attempts, tasks: Tasks, table: Any
) -> None:
    worker, task_id = await table.worker(), await table.put()
    (first,) = await attempts.claim(worker, [task_id], new_lease_token())
    await attempts.record(Ending.release(first))
    (second,) = await attempts.claim(worker, [task_id], new_lease_token())
    await attempts.record(Ending.fail(second, TaskError(code="failed", message="no")))
    await tasks.rerun(task_id)

    (third,) = await attempts.claim(worker, [task_id], new_lease_token())

    assert [claim.attempt for claim in (first, second, third)] == [1, 2, 3]
    assert third.failures == 0


async def test_token_stays_as_evidence_until_the_next_claim(attempts: Attempts, table: Any) -> None:
    worker, task_id, token = await table.worker(), await table.put(), new_lease_token()
    (claim,) = await attempts.claim(worker, [task_id], token)

    await attempts.record(Ending.release(claim))

    row = await table.task(task_id)
    assert (row["lease_token"], row["worker_id"]) == (token, worker)


async def test_times_stay_in_order_where_the_clock_has_stepped_back(attempts: Attempts, table: Any) -> None:
    worker = await table.worker()
    task_id = await table.put(created_at=timedelta(hours=1), due_at=timedelta(seconds=-5))

    (claim,) = await attempts.claim(worker, [task_id], new_lease_token())
    await attempts.record(Ending.complete(claim, None))

    row = await table.task(task_id)
    assert row["created_at"] == row["started_at"] == row["finished_at"] > datetime.now(UTC)


async def test_worker_takes_every_type_of_its_offer_on_every_queue_of_it(database: Database, table: Any) -> None:
    offer = Offer(("default", "reports"), {"a": None, "b": None})
    attempts = Attempts(database, database, offer)
    ids = {await table.put(queue=queue, type=type_) for queue in offer.queues for type_ in offer.types}

    claimed = await attempts.claim(await table.worker(), list(ids), new_lease_token())

    assert {claim.id for claim in claimed} == ids


async def test_suspects_are_claimed_one_at_a_time_longest_due_first(attempts: Attempts, table: Any) -> None:
    worker = await table.worker()
    later, first = [await table.put(lost_count=2, due_at=timedelta(minutes=-minutes)) for minutes in (2, 3)]

    claim = await attempts.claim_suspect(worker, new_lease_token(), overdue=OVERDUE)
    while_one_is_held = await attempts.claim_suspect(worker, new_lease_token(), overdue=OVERDUE)
    await attempts.record(Ending.release(claim, after=timedelta(hours=1)))
    afterwards = await attempts.claim_suspect(worker, new_lease_token(), overdue=OVERDUE)

    assert (claim.id, while_one_is_held, afterwards.id) == (first, None, later)


async def test_suspect_of_another_worker_hinders_nobody(attempts: Attempts, table: Any) -> None:
    await table.running(await table.worker(), lost_count=2)
    suspect = await table.put(lost_count=2)

    claim = await attempts.claim_suspect(await table.worker(), new_lease_token(), overdue=OVERDUE)

    assert claim.id == suspect


async def test_claim_of_a_suspect_leaves_all_that_is_none_or_not_its_own(attempts: Attempts, table: Any) -> None:
    await table.put(lost_count=1)
    await table.put(lost_count=2, due_at=timedelta(seconds=-1))
    await table.put(lost_count=2, type="other")
    await table.put(lost_count=2, queue="reports")
    await table.running(await table.dead_worker(), lost_count=2)
    alive, dead = await table.worker(), await table.dead_worker()

    assert await attempts.claim_suspect(alive, new_lease_token(), overdue=OVERDUE) is None
    await table.put(lost_count=2)
    assert await attempts.claim_suspect(dead, new_lease_token(), overdue=OVERDUE) is None
    assert await attempts.claim_suspect(alive, new_lease_token(), overdue=OVERDUE) is not None
