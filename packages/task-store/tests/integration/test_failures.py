"""Counts of failures, and the attempts of a task: what operators are shown of what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from task_contracts import REJECTED_FAILURE, ErrorCode, FailureKind, TaskError, TaskStatus, limits
from task_contracts.lifecycle import Event
from task_store import (
    Attempts,
    Claim,
    CountedFailure,
    Database,
    Ending,
    Failures,
    TaskFilter,
    Tasks,
    Workers,
)
from task_store._statements.statement import Statement

ClaimOne = Callable[..., Awaitable[Claim]]
KIND = FailureKind("report.build", "ValueError", "reports.build in render")
ERROR = TaskError(code=ErrorCode.HANDLER_ERROR, message="no", type="ValueError")
LEASE = timedelta(seconds=30)


@pytest.fixture
async def failures(database: Database) -> Failures:
    await database.fetch(Statement(text("DELETE FROM failure_hours")))
    return Failures(database)


def counted(kind: FailureKind = KIND, count: int = 1, **fields: Any) -> CountedFailure:
    made = CountedFailure(kind, count, "no such file", uuid4(), first_seconds=2.0, last_seconds=1.0)
    return replace(made, **fields)


def kind_of(number: int) -> FailureKind:
    return FailureKind("echo", f"Error{number}")


async def test_failures_of_one_kind_are_added_up_and_the_latest_is_shown(failures: Failures, table: Any) -> None:
    first, second = counted(count=3, first_seconds=9.0, last_seconds=8.0), counted(message="no room")
    start = await table.now()

    await failures.count([first])
    await failures.count([second])

    (group,) = await failures.last_day()
    assert (group.fingerprint, group.type, group.exception) == (KIND.fingerprint, "report.build", "ValueError")
    assert (group.frame, group.count) == ("reports.build in render", 4)
    assert (group.message, group.example_id) == ("no room", second.example_id)
    assert start - timedelta(seconds=9) <= group.first_at < group.last_at <= await table.now()


async def test_earlier_failure_that_is_counted_later_does_not_hide_the_latest(failures: Failures) -> None:
    latest = counted(message="latest", last_seconds=0.0)
    await failures.count([latest])

    await failures.count([counted(message="earlier", first_seconds=500.0, last_seconds=400.0)])

    (group,) = await failures.last_day()
    assert (group.message, group.count, group.example_id) == ("latest", 2, latest.example_id)


async def test_groups_are_summed_over_the_hours_of_a_day_most_first(failures: Failures, table: Any) -> None:
    await failures.count([counted(kind_of(1), 5), counted(kind_of(2), 4)])
    old = "UPDATE failure_hours SET hour = hour - $1::interval, last_at = last_at - $1"
    await table.execute(f"{old} WHERE exception = 'Error2'", timedelta(hours=3))
    await failures.count([counted(kind_of(2), 2, message="today")])
    await failures.count([counted(kind_of(3), 99)])
    await table.execute(f"{old} WHERE exception = 'Error3'", timedelta(hours=25))

    shown = [(group.exception, group.count, group.message) for group in await failures.last_day()]

    assert shown == [("Error2", 6, "today"), ("Error1", 5, "no such file")]


async def test_hour_has_room_for_so_many_kinds_and_counts_the_rest_as_other(
    failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = limits.FINGERPRINTS_AN_HOUR
    await failures.count([counted(kind_of(number)) for number in range(full - 1)])

    await failures.count([counted(kind_of(number)) for number in (full, full + 1, full + 2)])
    await failures.count([counted(kind_of(1)), counted(kind_of(full + 3))])

    monkeypatch.setattr(limits, "ERROR_GROUPS_MAX", 2 * full)
    groups = {group.exception: group for group in await failures.last_day()}
    other = groups["other"]
    assert len(groups) == full + 1
    assert (other.fingerprint, other.type, other.frame, other.count) == ("other", "other", "", 3)
    assert groups["Error1"].count == 2


async def test_at_most_so_many_groups_are_shown(failures: Failures) -> None:
    await failures.count([counted(kind_of(number), 1 + number) for number in range(limits.ERROR_GROUPS_MAX + 50)])

    groups = await failures.last_day()

    assert [group.count for group in groups] == list(range(limits.ERROR_GROUPS_MAX + 50, 50, -1))


async def test_workers_that_count_the_same_kinds_at_once_neither_lose_one_nor_deadlock(
    failures: Failures, other_database: Database
) -> None:
    kinds = [kind_of(number) for number in range(60)]
    both = (failures, Failures(other_database))

    for turn in range(10):
        orders = (kinds[turn:] + kinds[:turn], kinds[::-1])
        await asyncio.gather(
            *(one.count([counted(kind) for kind in order]) for one, order in zip(both, orders, strict=True))
        )

    assert [group.count for group in await failures.last_day()] == [20] * 60


async def test_workers_that_bring_new_kinds_at_once_make_no_more_than_each_may_and_a_full_hour_takes_none(
    failures: Failures, other_database: Database, table: Any
) -> None:
    async def bring(where: Failures, name: str, kinds: int) -> None:
        await where.count([counted(FailureKind("echo", f"{name}{number}")) for number in range(kinds)])

    both, full = (failures, Failures(other_database)), limits.FINGERPRINTS_AN_HOUR
    await asyncio.gather(*(bring(one, name, full) for one, name in zip(both, "ab", strict=True)))
    (at_once,) = await table.fetch("SELECT count(*) FROM failure_hours")
    await bring(failures, "c", full)

    (afterwards,) = await table.fetch("SELECT count(*), sum(count) FROM failure_hours")
    assert full <= at_once["count"] <= 2 * full + 1
    assert afterwards["count"] <= max(at_once["count"], full + 1)
    assert afterwards["sum"] == 3 * full


async def test_count_ends_at_what_the_column_holds(failures: Failures) -> None:
    for _ in range(2):
        await failures.count([counted(count=(1 << 31) - 2)])

    (group,) = await failures.last_day()
    assert group.count == (1 << 31) - 1


@pytest.mark.parametrize("words", ["\x1b[2J\x1b]0;gone\x07", "\x00\ud800", "'; DROP TABLE tasks --", "x" * 100_000, ""])
async def test_any_text_can_be_counted(words: str, failures: Failures) -> None:
    kind = FailureKind(words, words, words)

    await failures.count([counted(kind)])

    (group,) = await failures.last_day()
    assert (group.type, group.exception, group.frame) == (kind.type, kind.exception, kind.frame)
    assert len(group.exception) <= limits.FAILURE_PART_CHARS


async def test_old_hours_are_forgotten_in_steps(failures: Failures, table: Any) -> None:
    await failures.count([counted(kind_of(number)) for number in range(5)])
    await table.execute("UPDATE failure_hours SET hour = hour - interval '15 days' WHERE exception <> 'Error0'")

    steps = [len(await failures.forget(timedelta(days=14), rows=3)) for _ in range(3)]

    assert steps == [3, 1, 0]
    assert [group.exception for group in await failures.last_day()] == ["Error0"]


async def test_failed_task_keeps_the_fingerprint_until_it_is_rerun(
    attempts: Attempts, tasks: Tasks, claim_one: ClaimOne, table: Any
) -> None:
    failed, retried, cancelled = await claim_one(), await claim_one(), await claim_one()
    await tasks.cancel(cancelled.id)

    await attempts.record(Ending.fail(failed, ERROR, kind=KIND))
    await attempts.record(Ending.retry(retried, ERROR, after=timedelta(), kind=KIND))
    await attempts.record(Ending.fail(cancelled, ERROR, kind=KIND))

    kept = [(await table.task(claim.id))["fingerprint"] for claim in (failed, retried, cancelled)]
    assert kept == [KIND.fingerprint, None, None]
    await tasks.rerun(failed.id)
    assert (await table.task(failed.id))["fingerprint"] is None


async def test_what_the_leader_ends_has_the_fingerprint_of_its_code(workers: Workers, table: Any) -> None:
    dead = await table.dead_worker()
    lost = await table.put(TaskStatus.IN_PROGRESS, worker_id=dead, lost_count=limits.LOSSES_MAX - 1, type="größe")
    await table.worker()
    unknown = await table.put(type="nobody's", due_at=timedelta(hours=-1))

    (ended,) = await workers.sweep([dead], rows=9)
    await workers.reject(LEASE, rows=9)

    assert ended.event is Event.ABANDON
    assert (await table.task(lost))["fingerprint"] == FailureKind("größe", ErrorCode.WORKER_LOST).fingerprint
    assert (await table.task(unknown))["fingerprint"] == REJECTED_FAILURE.fingerprint


async def test_rerun_of_a_kind_of_failure_takes_that_kind_alone(tasks: Tasks, table: Any) -> None:
    of_kind = [await table.put(TaskStatus.FAILED, fingerprint=KIND.fingerprint) for _ in range(3)]
    other = await table.put(TaskStatus.FAILED, fingerprint=kind_of(1).fingerprint)
    without = await table.put(TaskStatus.FAILED)
    wanted = TaskFilter(fingerprint=KIND.fingerprint)

    listed = await tasks.page(wanted, items=9)
    changed = await tasks.change_many([Event.RERUN], wanted, items=9)

    assert [task.id for task in listed.items] == sorted(of_kind, reverse=True)
    assert changed.event_by_id.keys() == set(of_kind)
    assert [await table.status(one) for one in (other, without)] == ["FAILED", "FAILED"]
    assert (await tasks.page(wanted, items=9)).items == ()


async def test_attempts_are_those_that_are_kept_and_the_one_that_runs(
    attempts: Attempts, tasks: Tasks, claim_one: ClaimOne, claims: Any, table: Any
) -> None:
    worker = await table.worker(host="box-7", pid=42)
    claim = await claim_one(worker)
    running = await tasks.attempts(claim.id)
    await attempts.record(Ending.retry(claim, ERROR, after=timedelta(), traceback="Traceback: here", kind=KIND))
    failed = await tasks.attempts(claim.id)
    (again,) = (await claims.by_id(worker, [claim.id], uuid4())).claims
    await attempts.record(Ending.complete(again, "7"))

    completed = await tasks.attempts(claim.id)

    assert [(one.attempt, one.outcome, one.host, one.pid, one.ended_at) for one in running or ()] == [
        (1, None, "box-7", 42, None)
    ]
    assert [(one.attempt, one.outcome, one.error, one.traceback) for one in failed or ()] == [
        (1, "RETRY", ERROR, "Traceback: here")
    ]
    assert completed is not None
    assert [(one.attempt, one.outcome) for one in completed] == [(1, "RETRY"), (2, "COMPLETE")]
    assert all(one.worker_id == worker and one.ended_at and one.host == "box-7" for one in completed)


async def test_host_and_pid_are_those_of_the_attempt_and_unknown_once_nobody_knows_them(
    tasks: Tasks, table: Any
) -> None:
    known = await table.worker(host="now", pid=2)
    task = await table.put(TaskStatus.FAILED, attempt=3)
    insert = """
    INSERT INTO task_attempts (task_id, attempt, worker_id, host, pid, started_at, ended_at, outcome)
    VALUES ($1, $2, $3, $4, $5, now(), now(), 'FAIL')
    """
    for number, worker, host, pid in ((1, known, "then", 1), (2, known, None, None), (3, uuid4(), None, None)):
        await table.execute(insert, task, number, worker, host, pid)

    found = await tasks.attempts(task)

    assert [(one.host, one.pid) for one in found or ()] == [("then", 1), ("now", 2), (None, None)]


async def test_task_without_attempts_has_none_and_one_that_is_not_there_is_told_apart(tasks: Tasks, table: Any) -> None:
    assert await tasks.attempts(await table.put()) == []
    assert await tasks.attempts(uuid4()) is None


async def test_tracebacks_are_bounded_together_and_the_latest_are_shown(
    tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await table.put(TaskStatus.FAILED, attempt=2_000)
    await table.execute(
        "INSERT INTO task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, traceback)"
        " SELECT $1, n, gen_random_uuid(), now(), now(), 'FAIL', repeat(md5(n::text), 512)"
        " FROM generate_series(1, 2000) AS n",
        task,
    )

    found = await tasks.attempts(task) or []

    sizes = [len(one.traceback or "") for one in found]
    assert [one.attempt for one in found] == list(range(1_001, 2_001))
    assert sizes[-256:] == [16_384] * 256
    assert all((one.traceback or "").startswith("(left out") for one in found[:-256])
    assert sum(sizes) <= limits.PAGE_BYTES + 1_000 * 100


async def test_error_that_other_hands_have_stored_does_not_fail_the_answer(tasks: Tasks, table: Any) -> None:
    task = await table.put(TaskStatus.FAILED)
    await table.execute(
        "INSERT INTO task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, error)"
        " VALUES ($1, 1, $2, now(), now(), 'FAIL', '[1e400]')",
        task,
        uuid4(),
    )

    (attempt,) = await tasks.attempts(task) or []

    assert attempt.error is not None
    assert attempt.error.code == "unreadable_json"


@pytest.mark.parametrize("few", [0, 100])
async def test_tasks_that_ended_within_a_time_are_found_whether_few_or_many_did(
    few: int, tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FINISHED_IDS_MAX", few)
    moment = await table.now()
    at = [timedelta(minutes=-5), timedelta(minutes=-3), timedelta(minutes=-1)]
    ids = [await table.put(TaskStatus.COMPLETED, finished_at=one) for one in at]
    await table.put()
    ends = [(await table.task(one))["finished_at"] for one in ids]

    async def found(**wanted: Any) -> list[UUID]:
        return [task.id for task in (await tasks.page(TaskFilter(**wanted), items=9)).items]

    assert await found(finished_from=ends[1]) == [ids[2], ids[1]]
    assert await found(finished_to=ends[1]) == [ids[0]]
    assert await found(finished_from=ends[0], finished_to=ends[2]) == [ids[1], ids[0]]
    assert await found(finished_from=moment) == []
    assert (await tasks.total(TaskFilter(finished_from=ends[1]))).count == 2


async def test_tasks_that_a_worker_runs_are_found_by_it_and_those_that_it_ran_are_not(tasks: Tasks, table: Any) -> None:
    worker = await table.worker()
    runs = [await table.put(TaskStatus.IN_PROGRESS, worker_id=worker) for _ in range(2)]
    await table.put(TaskStatus.COMPLETED, worker_id=worker)
    await table.put(TaskStatus.IN_PROGRESS)

    page = await tasks.page(TaskFilter(worker_id=worker), items=9)

    assert [task.id for task in page.items] == runs[::-1]


async def test_beginning_of_an_id_finds_it(tasks: Tasks, table: Any) -> None:
    wanted = UUID("019dd6a4-08ff-7000-8000-0000000000ff")
    for one in (wanted, UUID("019dd6a4-08fe-7fff-bfff-ffffffffffff"), UUID("019dd6a4-0900-7000-8000-000000000000")):
        await table.put(id=one)

    for digits in ("019dd6a408ff", wanted.hex):
        assert [task.id for task in (await tasks.page(TaskFilter(id_prefix=digits), items=9)).items] == [wanted]
    assert len((await tasks.page(TaskFilter(id_prefix="019dd6a4"), items=9)).items) == 3
