"""How attempts end, by `record` of their worker or by `sweep` for a dead one, and what is kept of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_contracts import Progress, TaskError, TaskStatus
from task_contracts.lifecycle import WITHOUT_TRACE, Event
from task_store import (
    Attempts,
    Claim,
    Claims,
    Database,
    Ending,
    Tasks,
    UnstorableValuesError,
    WorkerProcess,
    Workers,
    new_lease_token,
)

ERROR = TaskError(code="failed", message="no such file", type="OSError")
ENDINGS: dict[Event, Callable[[Any], Ending]] = {
    Event.COMPLETE: lambda lease: Ending.complete(lease, "7"),
    Event.RETRY: lambda lease: Ending.retry(lease, ERROR, after=timedelta(seconds=9), traceback="Traceback: here"),
    Event.FAIL: lambda lease: Ending.fail(lease, ERROR, traceback="Traceback: here"),
    Event.SNOOZE: lambda lease: Ending.snooze(lease, after=timedelta(seconds=9)),
    Event.RELEASE: lambda lease: Ending.release(lease),
}

ClaimOne = Callable[..., Awaitable[Claim]]


@pytest.mark.parametrize("event", ENDINGS)
async def test_requested_cancel_turns_every_ending_but_completion_into_a_cancellation(
    event: Event, attempts: Attempts, tasks: Tasks, claim_one: ClaimOne
) -> None:
    claim = await claim_one()
    asked = await tasks.cancel(claim.id)

    ended = await attempts.record(ENDINGS[event](claim))

    task = await tasks.get(claim.id)
    assert asked.event is Event.REQUEST_CANCEL
    assert task.status is (TaskStatus.COMPLETED if event is Event.COMPLETE else TaskStatus.CANCELLED)
    assert ended.event is (Event.COMPLETE if event is Event.COMPLETE else Event.CONFIRM_CANCEL)
    assert task.cancel_requested_at == asked.task.cancel_requested_at


async def test_release_may_be_for_later(attempts: Attempts, tasks: Tasks, claim_one: ClaimOne, table: Any) -> None:
    claim = await claim_one()
    start = await table.now()

    await attempts.record(Ending.release(claim, after=timedelta(seconds=90)))

    task = await tasks.get(claim.id)
    assert start <= task.due_at - timedelta(seconds=90) <= await table.now()
    assert (task.status, task.failures, task.attempt) == (TaskStatus.PENDING, 0, 1)


@pytest.mark.parametrize("event", ENDINGS)
async def test_attempt_that_neither_completed_nor_snoozed_is_kept_beside_its_task(
    event: Event, database: Database, claim_one: ClaimOne, table: Any
) -> None:
    claim = await claim_one()
    before = await table.task(claim.id)

    await Attempts(database, WorkerProcess("web-1", 4711)).record(ENDINGS[event](claim))

    kept = await table.fetch("SELECT * FROM task_attempts")
    if event in WITHOUT_TRACE:
        assert kept == []
        return
    (row,) = kept
    has_error = event in {Event.RETRY, Event.FAIL}
    assert (row["task_id"], row["attempt"], row["outcome"]) == (claim.id, 1, event)
    assert (row["worker_id"], row["started_at"]) == (before["worker_id"], before["started_at"])
    assert (row["host"], row["pid"]) == ("web-1", 4711)
    assert row["started_at"] <= row["ended_at"] <= await table.now()
    assert row["error"] == (ERROR.model_dump() if has_error else None)
    assert row["traceback"] == ("Traceback: here" if has_error else None)


async def test_error_of_the_last_failure_stays_until_a_success(
    claims: Claims, attempts: Attempts, tasks: Tasks, claim_one: ClaimOne, table: Any
) -> None:
    claim = await claim_one()
    await attempts.record(Ending.retry(claim, ERROR, after=timedelta()))
    waiting = await tasks.get(claim.id)
    (again,) = (await claims.by_id(await table.worker(), [claim.id], new_lease_token())).claims
    running = await tasks.get(claim.id)

    await attempts.record(Ending.complete(again, None))

    done = await tasks.get(claim.id)
    assert (waiting.error, running.error, done.error) == (ERROR, ERROR, None)
    assert (again.attempt, again.failures) == (2, 1)
    assert (done.failures, done.attempt) == (1, 2)


async def test_each_attempt_of_a_task_is_kept_under_its_number(
    claims: Claims, attempts: Attempts, claim_one: ClaimOne, table: Any
) -> None:
    worker = await table.worker()
    claim = await claim_one(worker)
    for _ in range(3):
        await attempts.record(Ending.retry(claim, ERROR, after=timedelta()))
        (claim,) = (await claims.by_id(worker, [claim.id], new_lease_token())).claims

    kept = await table.fetch("SELECT attempt, outcome FROM task_attempts ORDER BY attempt")
    assert kept == [{"attempt": number, "outcome": "RETRY"} for number in (1, 2, 3)]
    assert claim.attempt == 4


@pytest.mark.parametrize("event", ENDINGS)
async def test_late_ending_under_a_stale_token_changes_nothing(
    event: Event, claims: Claims, attempts: Attempts, workers: Workers, claim_one: ClaimOne, table: Any
) -> None:
    stale = await claim_one(await table.worker())
    await table.connection.execute("UPDATE workers SET dead_at = statement_timestamp()")
    await workers.sweep(await workers.dead_holders(), rows=10)
    (current,) = (await claims.by_id(await table.worker(), [stale.id], new_lease_token())).claims
    before = await table.task(stale.id)
    kept = await table.fetch("SELECT * FROM task_attempts")

    ended = await attempts.record(ENDINGS[event](stale))

    assert ended is None
    assert await table.task(stale.id) == before
    assert await table.fetch("SELECT * FROM task_attempts") == kept
    assert (await attempts.record(Ending.complete(current, None))).event is Event.COMPLETE


async def test_progress_under_a_stale_token_changes_nothing(
    attempts: Attempts, claim_one: ClaimOne, table: Any
) -> None:
    claim = await claim_one()
    before = await table.task(claim.id)

    is_held = await attempts.report_progress(claim.id, uuid4(), Progress(percent=50))

    assert not is_held
    assert await table.task(claim.id) == before


async def test_progress_is_written_and_counts_as_a_change(
    attempts: Attempts, tasks: Tasks, claim_one: ClaimOne
) -> None:
    claim = await claim_one()
    before = await tasks.get(claim.id)

    is_held = await attempts.report_progress(claim.id, claim.lease_token, Progress(percent=50, message="half of it"))

    after = await tasks.get(claim.id)
    assert is_held
    assert after.progress == Progress(percent=50, message="half of it")
    assert after.version == before.version + 1


async def test_progress_of_many_tasks_is_told_once_without_those_of_a_stale_token(
    database: Database, claim_one: ClaimOne
) -> None:
    told: list[list[UUID]] = []
    first, second, stale = [await claim_one() for _ in range(3)]

    async with Database(database.url, on_changed=told.append) as telling:
        attempts, half = Attempts(telling), Progress(percent=50)
        alone = asyncio.create_task(attempts.report_progress(stale.id, uuid4(), half))
        await asyncio.gather(
            alone, *(attempts.report_progress(one.id, one.lease_token, half) for one in (first, second))
        )

    assert [sorted(ids) for ids in told] == [sorted([first.id, second.id])]


async def test_progress_after_the_end_changes_nothing(attempts: Attempts, claim_one: ClaimOne, table: Any) -> None:
    claim = await claim_one()
    await attempts.record(Ending.complete(claim, None))
    before = await table.task(claim.id)

    assert not await attempts.report_progress(claim.id, claim.lease_token, Progress(percent=50))
    assert await table.task(claim.id) == before


async def test_repeated_record_changes_nothing_and_returns_none(
    attempts: Attempts, claim_one: ClaimOne, table: Any
) -> None:
    claim = await claim_one()
    await attempts.record(Ending.complete(claim, '"first"'))
    before = await table.task(claim.id)

    assert await attempts.record(Ending.complete(claim, '"second"')) is None
    assert await table.task(claim.id) == before


async def test_concurrent_endings_share_a_statement_and_each_gets_its_own_answer(
    attempts: Attempts, claim_one: ClaimOne, table: Any
) -> None:
    worker = await table.worker()
    claims = [await claim_one(worker) for _ in range(2 * len(ENDINGS))]
    events = [*ENDINGS, *ENDINGS]
    endings = [ENDINGS[event](claim) for event, claim in zip(events, claims, strict=True)]

    ended = await asyncio.gather(*(attempts.record(ending) for ending in endings))

    assert [(one.id, one.event) for one in ended] == [(c.id, e) for c, e in zip(claims, events, strict=True)]
    assert {(one.type, one.attempt, one.worker_id, one.lost_count) for one in ended} == {("echo", 1, worker, 0)}


async def test_stale_ending_in_one_statement_with_the_current_one_is_told_apart(
    attempts: Attempts, tasks: Tasks, claim_one: ClaimOne
) -> None:
    claim = await claim_one()

    answers = await asyncio.gather(
        attempts.record(Ending.fail(claim._replace(lease_token=uuid4()), ERROR)),
        attempts.record(Ending.complete(claim, None)),
        attempts.record(Ending.release(claim._replace(lease_token=uuid4()))),
    )

    assert [answer and answer.event for answer in answers] == [None, Event.COMPLETE, None]
    assert (await tasks.get(claim.id)).status is TaskStatus.COMPLETED


async def test_stale_progress_in_one_statement_with_the_current_one_is_told_apart(
    attempts: Attempts, tasks: Tasks, claim_one: ClaimOne
) -> None:
    claim = await claim_one()

    answers = await asyncio.gather(
        attempts.report_progress(claim.id, claim.lease_token, Progress(percent=20)),
        attempts.report_progress(claim.id, claim.lease_token, Progress(percent=30)),
        attempts.report_progress(claim.id, uuid4(), Progress(percent=99)),
    )

    assert answers == [True, True, False]
    assert (await tasks.get(claim.id)).progress == Progress(percent=30)


async def test_refused_result_fails_alone(
    attempts: Attempts, tasks: Tasks, claim_one: ClaimOne, subtests: pytest.Subtests
) -> None:
    for refused in ('"\x00"', '"\ud800"', "{"):
        with subtests.test(refused=refused):
            bad, good = await claim_one(), await claim_one()

            refusal, ended = await asyncio.gather(
                attempts.record(Ending.complete(bad, refused)),
                attempts.record(Ending.complete(good, "[1]")),
                return_exceptions=True,
            )

            assert isinstance(refusal, UnstorableValuesError), refusal
            assert ended.event is Event.COMPLETE
            assert (await tasks.get(bad.id)).status is TaskStatus.IN_PROGRESS
            assert (await tasks.get(good.id)).result == [1]


@pytest.mark.parametrize(
    ("columns", "event", "lost_count"),
    [
        ({"lost_count": 0}, Event.RESCUE, 1),
        ({"lost_count": 1}, Event.RESCUE, 2),
        ({"lost_count": 2}, Event.ABANDON, 3),
        ({"lost_count": 7}, Event.ABANDON, 8),
        ({"lost_count": 1, "cancel_requested_at": timedelta(seconds=-1)}, Event.CANCEL_LOST, 2),
        ({"lost_count": 2, "cancel_requested_at": timedelta(seconds=-1)}, Event.CANCEL_LOST, 3),
    ],
)
@pytest.mark.parametrize("was_draining", [False, True])
async def test_sweep_counts_the_loss_unless_the_worker_was_draining(
    columns: dict[str, Any], event: Event, lost_count: int, was_draining: bool, workers: Workers, table: Any
) -> None:
    if was_draining:
        lost_count -= 1
        event = Event.RESCUE if event is Event.ABANDON else event
    drained = timedelta(minutes=-1) if was_draining else None
    worker = await table.dead_worker(draining_at=drained, host="web-1", pid=4711)
    task_id = await table.running(worker, attempt=4, dispatched_at=timedelta(minutes=-2), **columns)

    (ended,) = await workers.sweep(await workers.dead_holders(), rows=10)

    row = await table.task(task_id)
    (kept,) = await table.fetch("SELECT * FROM task_attempts")
    assert (ended.id, ended.event, ended.worker_id, ended.attempt) == (task_id, event, worker, 4)
    assert (ended.lost_count, row["lost_count"]) == (lost_count, lost_count)
    assert (row["status"] == "PENDING") == (event is Event.RESCUE)
    assert (row["dispatched_at"] is None) == (event is Event.RESCUE)
    assert (kept["outcome"], kept["attempt"], kept["worker_id"]) == (event, 4, worker)
    assert (kept["host"], kept["pid"]) == ("web-1", 4711)
    assert (kept["error"] or {}).get("code") == ("worker_lost" if event is Event.ABANDON else None)


async def test_attempt_of_a_worker_without_a_row_is_kept_without_host_and_process(workers: Workers, table: Any) -> None:
    await table.running(uuid4())

    assert await workers.sweep(await workers.dead_holders(), rows=10)

    (kept,) = await table.fetch("SELECT host, pid FROM task_attempts")
    assert kept == {"host": None, "pid": None}


async def test_sweep_takes_so_many_rows_and_no_task_of_the_living(workers: Workers, table: Any) -> None:
    dead, alive = await table.dead_worker(), await table.worker()
    lost = {await table.running(dead) for _ in range(5)}
    held = await table.running(alive)

    turns = [await workers.sweep(await workers.dead_holders(), rows=3) for _ in range(3)]

    assert [len(turn) for turn in turns] == [3, 2, 0]
    assert {ended.id for turn in turns for ended in turn} == lost
    assert await table.status(held) == "IN_PROGRESS"
