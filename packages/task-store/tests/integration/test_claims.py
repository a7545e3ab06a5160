"""Claims of delivered ids and of suspects, and what a claim returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from task_contracts import Priority, TaskError
from task_store import (
    Attempts,
    Claim,
    Claims,
    Database,
    Ending,
    NewTask,
    Offer,
    RequestKey,
    StoreError,
    Tasks,
    new_lease_token,
)

OVERDUE = timedelta(seconds=2)
Poll = Callable[..., Awaitable[Any]]


async def test_claim_brings_all_that_a_handler_and_its_context_need(
    claims: Claims, tasks: Tasks, table: Any, new_task: Callable[..., NewTask]
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

    claimed = (await claims.by_id(worker, [task.id], token)).claims

    assert claimed == [
        Claim(
            id=task.id,
            name="count words",
            type="echo",
            queue="default",
            priority=Priority.HIGH,
            labels_text='{"customer": "42"}',
            payload_text=orjson.dumps(payload).decode(),
            checkpoint_text=None,
            attempt=1,
            failures=0,
            rerun_count=0,
            timeout_seconds=2.5,
            max_attempts=4,
            lease_token=token,
            created_at=task.created_at,
            due_at=task.due_at,
            started_at=claimed[0].started_at,
        )
    ]
    assert claimed[0].started_at >= task.created_at
    assert isinstance(claimed[0].priority, Priority)


async def test_where_a_task_is_traced_is_kept_with_it_however_it_is_created(
    claims: Claims, tasks: Tasks, table: Any, new_task: Callable[..., NewTask]
) -> None:
    worker, traced = await table.worker(), f"00-{'a' * 32}-{'b' * 16}-01"
    new = replace(new_task(type="echo"), traceparent=traced)
    ids = [
        (await tasks.create(new)).id,
        (await tasks.create_keyed(new, RequestKey("key", b"x" * 32))).task.id,
        (await tasks.create_batch([new])).items[0].id,
        (await tasks.create(new_task(type="echo"))).id,
    ]

    claimed = (await claims.by_id(worker, ids, new_lease_token())).claims

    found = {claim.id: claim.traceparent for claim in claimed}
    assert [found[task_id] for task_id in ids] == [traced, traced, traced, None]


async def test_one_claim_takes_many_under_one_token(claims: Claims, table: Any) -> None:
    worker, token = await table.worker(), new_lease_token()
    ids = await table.fill(50)

    claimed = (await claims.by_id(worker, ids, token)).claims

    assert {claim.id for claim in claimed} == set(ids)
    held = await table.fetch("SELECT DISTINCT lease_token, worker_id, attempt, status FROM tasks")
    assert held == [{"lease_token": token, "worker_id": worker, "attempt": 1, "status": "IN_PROGRESS"}]


async def test_claim_takes_of_its_ids_those_that_it_may_and_leaves_the_others(claims: Claims, table: Any) -> None:
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

    claimed = (await claims.by_id(worker, asked, new_lease_token())).claims

    assert {claim.id for claim in claimed} == good


async def test_claim_of_nothing_returns_nothing(claims: Claims, table: Any) -> None:
    assert (await claims.by_id(await table.worker(), [], new_lease_token())).claims == []


async def test_id_that_is_named_twice_is_claimed_once(claims: Claims, table: Any) -> None:
    task_id = await table.put()

    claimed = (await claims.by_id(await table.worker(), [task_id, task_id], new_lease_token())).claims

    assert [(claim.id, claim.attempt) for claim in claimed] == [(task_id, 1)]


async def test_claimed_task_is_not_claimed_again(claims: Claims, table: Any) -> None:
    worker, task_id = await table.worker(), await table.put()
    await claims.by_id(worker, [task_id], new_lease_token())
    before = await table.task(task_id)

    assert (await claims.by_id(worker, [task_id], new_lease_token())).claims == []
    assert await table.task(task_id) == before


async def test_attempts_are_counted_up_through_releases_and_reruns(
    claims: Claims, attempts: Attempts, tasks: Tasks, table: Any
) -> None:
    worker, task_id = await table.worker(), await table.put()
    (first,) = (await claims.by_id(worker, [task_id], new_lease_token())).claims
    await attempts.record(Ending.release(first))
    (second,) = (await claims.by_id(worker, [task_id], new_lease_token())).claims
    await attempts.record(Ending.fail(second, TaskError(code="failed", message="no")))
    await tasks.rerun(task_id)

    (third,) = (await claims.by_id(worker, [task_id], new_lease_token())).claims

    assert [claim.attempt for claim in (first, second, third)] == [1, 2, 3]
    assert third.failures == 0


async def test_token_stays_as_evidence_until_the_next_claim(claims: Claims, attempts: Attempts, table: Any) -> None:
    worker, task_id, token = await table.worker(), await table.put(), new_lease_token()
    (claim,) = (await claims.by_id(worker, [task_id], token)).claims

    await attempts.record(Ending.release(claim))

    row = await table.task(task_id)
    assert (row["lease_token"], row["worker_id"]) == (token, worker)


async def test_times_stay_in_order_where_the_clock_has_stepped_back(
    claims: Claims, attempts: Attempts, table: Any
) -> None:
    worker = await table.worker()
    task_id = await table.put(created_at=timedelta(hours=1), due_at=timedelta(seconds=-5))

    (claim,) = (await claims.by_id(worker, [task_id], new_lease_token())).claims
    await attempts.record(Ending.complete(claim, None))

    row = await table.task(task_id)
    assert row["created_at"] == row["started_at"] == row["finished_at"] > datetime.now(UTC)


async def test_worker_takes_every_type_of_its_offer_on_every_queue_of_it(
    database: Database, table: Any, weights: Mapping[Priority, int]
) -> None:
    offer = Offer(("default", "reports"), {"a": None, "b": None})
    claims = Claims(database, database, database, offer, weights)
    ids = {await table.put(queue=queue, type=type_) for queue in offer.queues for type_ in offer.types}

    claimed = (await claims.by_id(await table.worker(), list(ids), new_lease_token())).claims

    assert {claim.id for claim in claimed} == ids


async def test_suspects_are_claimed_one_at_a_time_longest_due_first(
    claims: Claims, attempts: Attempts, table: Any, claim_suspect: Poll
) -> None:
    worker = await table.worker()
    later, first = [await table.put(lost_count=2, due_at=timedelta(minutes=-minutes)) for minutes in (2, 3)]

    (claim,) = await claim_suspect(claims, worker)
    other = await table.running(worker)
    while_one_is_held = await claim_suspect(claims, worker, [other, claim.id])
    await attempts.record(Ending.release(claim, after=timedelta(hours=1)))
    (afterwards,) = await claim_suspect(claims, worker, [other, claim.id])

    assert (claim.id, while_one_is_held, afterwards.id) == (first, [], later)


async def test_suspect_of_another_worker_hinders_nobody(claims: Claims, table: Any, claim_suspect: Poll) -> None:
    held_by_other = await table.running(await table.worker(), lost_count=2)
    suspect = await table.put(lost_count=2)

    (claim,) = await claim_suspect(claims, await table.worker(), [held_by_other])

    assert claim.id == suspect


async def test_claim_of_a_suspect_leaves_all_that_is_none_or_not_its_own(
    claims: Claims, table: Any, claim_suspect: Poll
) -> None:
    await table.put(lost_count=1)
    await table.put(lost_count=2, due_at=timedelta(seconds=-1))
    await table.put(lost_count=2, type="other")
    await table.put(lost_count=2, queue="reports")
    await table.running(await table.dead_worker(), lost_count=2)
    alive, dead = await table.worker(), await table.dead_worker()

    assert await claim_suspect(claims, alive) == []
    await table.put(lost_count=2)
    assert await claim_suspect(claims, dead) == []
    assert await claim_suspect(claims, alive) != []


async def test_guards_of_a_suspect_are_tested_on_its_own_row(claims: Claims, table: Any) -> None:
    worker = await table.worker()
    no_suspect = await table.put(lost_count=1)
    ids = [
        no_suspect,
        await table.put(lost_count=2, due_at=timedelta(hours=1)),
        await table.put(lost_count=2, type="other"),
        await table.put(lost_count=2, queue="reports"),
        await table.running(await table.worker(), lost_count=2),
    ]

    claimed = [await claims.suspect(worker, task_id, new_lease_token(), held_ids=[]) for task_id in ids]

    assert [one.claims for one in claimed] == [[]] * len(ids)


async def test_suspect_that_no_claim_can_take_does_not_hide_the_next(claims: Claims, table: Any) -> None:
    await table.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'damaged'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON tasks FOR EACH ROW WHEN (OLD.name = 'culprit')"
        " EXECUTE FUNCTION refuse()"
    )
    worker = await table.worker()
    culprit = await table.put(lost_count=2, name="culprit", due_at=timedelta(minutes=-3))
    other = await table.put(lost_count=2, due_at=timedelta(minutes=-2))

    found = []
    for _ in range(3):
        found.append(await claims.find_suspects(overdue=OVERDUE))
        with suppress(StoreError):
            await claims.suspect(worker, found[-1][0], new_lease_token(), held_ids=[])

    assert found == [[culprit, other], [culprit, other], [other]]
    assert await table.status(other) == "IN_PROGRESS"


async def test_labels_count_among_the_bytes_of_a_claim(claims: Claims, table: Any) -> None:
    worker = await table.worker()
    ids = [await table.put(labels={"a": "x" * 1_000}) for _ in range(3)]

    claimed = await claims.by_id(worker, ids, new_lease_token(), max_bytes=2_500)

    assert [claim.id for claim in claimed.claims] == ids[:2]
    assert claimed.left == ids[2:]
