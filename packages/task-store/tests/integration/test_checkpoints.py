"""What a task keeps for its next attempt: fenced by the lease token, given with the next claim, gone with a rerun."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from task_contracts import TaskError
from task_store import Attempts, Claim, Claims, Ending, Tasks, UnstorableValuesError, Workers, new_lease_token

ERROR = TaskError(code="failed", message="no")

ClaimOne = Callable[..., Awaitable[Claim]]


async def test_checkpoint_is_stored_with_its_size_and_is_no_change_that_callers_see(
    attempts: Attempts, claim_one: ClaimOne, table: Any
) -> None:
    claim = await claim_one()
    before = await table.task(claim.id)

    is_held = await attempts.store_checkpoint(claim, '{"über": 3}')

    after = await table.task(claim.id)
    assert is_held
    assert after == {**before, "checkpoint": {"über": 3}, "checkpoint_bytes": 12}


async def test_none_keeps_nothing(attempts: Attempts, claim_one: ClaimOne, table: Any) -> None:
    claim = await claim_one(checkpoint={"page": 3})

    assert await attempts.store_checkpoint(claim, None)

    after = await table.task(claim.id)
    assert (after["checkpoint"], after["checkpoint_bytes"]) == (None, 0)


@pytest.mark.parametrize(
    "ending",
    [
        lambda claim: Ending.retry(claim, ERROR, after=timedelta()),
        lambda claim: Ending.snooze(claim, after=timedelta()),
        Ending.release,
    ],
)
async def test_next_claim_has_it_however_the_attempt_ended(
    ending: Callable[[Claim], Ending], attempts: Attempts, claims: Claims, claim_one: ClaimOne, table: Any
) -> None:
    worker = await table.worker()
    first = await claim_one(worker)
    await attempts.store_checkpoint(first, '{"page": 3}')
    await attempts.record(ending(first))

    (second,) = (await claims.by_id(worker, [first.id], new_lease_token())).claims

    assert (first.checkpoint, second.checkpoint) == (None, {"page": 3})


async def test_next_claim_has_it_after_its_worker_was_lost(
    attempts: Attempts, claims: Claims, workers: Workers, claim_one: ClaimOne, table: Any
) -> None:
    lost = await claim_one(await table.worker())
    await attempts.store_checkpoint(lost, "3")
    await table.execute("UPDATE workers SET dead_at = statement_timestamp()")
    await workers.sweep(await workers.dead_holders(), rows=10)

    (current,) = (await claims.by_id(await table.worker(), [lost.id], new_lease_token())).claims
    is_held = await attempts.store_checkpoint(lost, "4")

    assert not is_held
    assert (current.checkpoint, (await table.task(lost.id))["checkpoint"]) == (3, 3)


async def test_after_the_end_nothing_is_stored(attempts: Attempts, claim_one: ClaimOne, table: Any) -> None:
    claim = await claim_one()
    await attempts.record(Ending.complete(claim, None))
    before = await table.task(claim.id)

    assert not await attempts.store_checkpoint(claim, "3")
    assert await table.task(claim.id) == before


async def test_rerun_begins_without_it_and_is_counted(
    tasks: Tasks, attempts: Attempts, claims: Claims, claim_one: ClaimOne, table: Any
) -> None:
    worker = await table.worker()
    first = await claim_one(worker)
    await attempts.store_checkpoint(first, "3")
    await attempts.record(Ending.fail(first, ERROR))
    await tasks.rerun(first.id)

    (second,) = (await claims.by_id(worker, [first.id], new_lease_token())).claims

    assert (second.checkpoint, second.rerun_count) == (None, 1)
    assert (await table.task(first.id))["checkpoint_bytes"] == 0


async def test_a_stale_one_in_one_statement_with_the_current_ones_is_told_apart(
    attempts: Attempts, claim_one: ClaimOne, table: Any
) -> None:
    claim = await claim_one()

    answers = await asyncio.gather(
        attempts.store_checkpoint(claim, "1"),
        attempts.store_checkpoint(claim, "2"),
        attempts.store_checkpoint(claim._replace(lease_token=uuid4()), "9"),
    )

    assert answers == [True, True, False]
    assert (await table.task(claim.id))["checkpoint"] == 2


async def test_one_that_is_refused_fails_alone(attempts: Attempts, claim_one: ClaimOne, table: Any) -> None:
    bad, good = await claim_one(), await claim_one()

    refusal, is_held = await asyncio.gather(
        attempts.store_checkpoint(bad, "{"), attempts.store_checkpoint(good, "1"), return_exceptions=True
    )

    assert isinstance(refusal, UnstorableValuesError)
    assert is_held
    assert (await table.task(good.id))["checkpoint"] == 1


async def test_it_counts_among_the_bytes_of_a_claim(claims: Claims, table: Any) -> None:
    worker = await table.worker()
    ids = [await table.put(checkpoint="x" * 1_000) for _ in range(3)]

    claimed = await claims.by_id(worker, ids, new_lease_token(), max_bytes=2_500)

    assert [claim.id for claim in claimed.claims] == ids[:2]
    assert claimed.left == ids[2:]
    assert claimed.claims[0].body_bytes == len("{}") + 1_002


async def test_it_counts_among_the_bytes_of_a_purge(workers: Workers, table: Any) -> None:
    await table.put("FAILED", checkpoint="x" * 1_000, finished_at=timedelta(minutes=-1))

    (old,) = await workers.old_tasks(timedelta(seconds=1), rows=1)

    assert old.body_bytes == len("{}") + 1_002
