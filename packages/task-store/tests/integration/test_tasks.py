"""Tasks for callers: what is created comes back as it was given, and each request has one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from task_contracts import Priority, TaskError, TaskState, TaskStatus, TaskUpdate, check_json
from task_contracts.lifecycle import Event
from task_contracts.testing import an_id
from task_store import Attempts, Claim, Ending, NewTask, Tasks, UnstorableValuesError

KINDS: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "largest": 2**63 - 1,
    "smallest": -(2**63) + 1,
    "beyond exact doubles": 2**53 + 1,
    "half": 0.5,
    "tenth": 0.1,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "1e22": 1e22,
    "an integral float beyond int8": 1.5e19,
    "negative and beyond int8": -9.3e18,
    "digits": "12345678901234567890123",
    "text": 'Zoë said "ok"\\ \n\t\u2028 \U0001f600',
    "empty text": "",
    "list": [],
    "object": {},
    "mixed": [1, [2.5, None, {"a": [True]}], "x"],
    "": "an empty key",
}


async def test_created_task_comes_back_as_it_was_given(tasks: Tasks, new_task: Callable[..., NewTask]) -> None:
    run_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    new = new_task(
        name="Zoë's task %_\\",
        description="what for",
        type="report.build",
        queue="reports",
        priority=Priority.LOW,
        labels={"customer": "42", "é": ""},
        payload=KINDS,
        run_at=run_at,
        timeout_seconds=1.5,
        max_attempts=7,
    )

    created = await tasks.create(new)

    assert created == await tasks.get(created.id)
    assert {name: getattr(created, name) for name in type(new.asked).model_fields if name != "type"} == {
        name: getattr(new.asked, name) for name in type(new.asked).model_fields if name != "type"
    }
    assert (created.type, created.status, created.due_at) == ("report.build", TaskStatus.NEW, run_at)
    assert (created.attempt, created.version, created.result, created.error) == (0, 1, None, None)
    assert created.id.version == 7


async def test_task_with_nothing_but_a_name_is_due_at_once(
    tasks: Tasks, new_task: Callable[..., NewTask], table: Any
) -> None:
    start = await table.now()

    created = await tasks.create(new_task())

    assert created == await tasks.get(created.id)
    assert start <= created.created_at <= await table.now()
    assert created.due_at == created.created_at
    assert created.run_at is None


@pytest.mark.parametrize("described", [(None, None), ("words", None), (None, "words"), ("words", "more")])
async def test_what_some_tasks_of_a_batch_have_stays_with_them(
    tasks: Tasks, new_task: Callable[..., NewTask], described: tuple[str | None, ...]
) -> None:
    news = [new_task(description=one) for one in described]

    together = await asyncio.gather(*(tasks.create(new) for new in news))
    batch = await tasks.create_batch(news)

    for created in (*together, *batch.items):
        stored = await tasks.get(created.id)
        assert stored is not None
        assert stored.description == created.description
    assert tuple(one.description for one in together) == described
    assert tuple(one.description for one in batch.items) == described


async def test_run_at_in_the_past_is_kept_and_means_now(tasks: Tasks, new_task: Callable[..., NewTask]) -> None:
    run_at = datetime.now(UTC) - timedelta(days=1)

    created = await tasks.create(new_task(run_at=run_at))

    assert (created.run_at, created.due_at) == (run_at, created.created_at)


async def test_many_creations_at_once_each_get_their_own_task(
    tasks: Tasks, new_task: Callable[..., NewTask], table: Any
) -> None:
    created = await asyncio.gather(*(tasks.create(new_task(name=f"task {number}")) for number in range(1200)))

    assert [task.name for task in created] == [f"task {number}" for number in range(1200)]
    names = await table.fetch("SELECT id, name FROM tasks ORDER BY id")
    assert [(row["id"], row["name"]) for row in names] == [(task.id, task.name) for task in created]


async def test_closing_waits_for_what_is_being_created(
    tasks: Tasks, new_task: Callable[..., NewTask], table: Any
) -> None:
    async with asyncio.TaskGroup() as group:
        creating = [group.create_task(tasks.create(new_task())) for _ in range(3)]
        await asyncio.sleep(0)

        await tasks.aclose()

        assert len(await table.fetch("SELECT 1 FROM tasks")) == 3
    assert len({task.result().id for task in creating}) == 3


async def test_refused_creation_fails_alone(tasks: Tasks, new_task: Callable[..., NewTask], table: Any) -> None:
    good, bad = new_task(name="good"), new_task(name="bad")
    bad.asked.labels["nul"] = "\x00"  # past the gate

    outcomes = await asyncio.gather(tasks.create(good), tasks.create(bad), tasks.create(good), return_exceptions=True)

    assert isinstance(outcomes[1], UnstorableValuesError)
    assert {row["id"] for row in await table.fetch("SELECT id FROM tasks")} == {outcomes[0].id, outcomes[2].id}


@pytest.mark.parametrize("kind", KINDS)
async def test_result_of_any_kind_comes_back_equal_and_may_be_given_on(
    kind: str, tasks: Tasks, attempts: Attempts, claim_one: Callable[..., Awaitable[Claim]], to_json: Any
) -> None:
    claim = await claim_one()

    await attempts.record(Ending.complete(claim, to_json(KINDS[kind])))

    result = (await tasks.get(claim.id)).result
    assert result == KINDS[kind]
    assert check_json(result) == result


async def test_task_without_a_result_differs_from_one_whose_result_is_null(
    tasks: Tasks, attempts: Attempts, claim_one: Callable[..., Awaitable[Claim]], table: Any
) -> None:
    nothing, null = await claim_one(), await claim_one()

    await attempts.record(Ending.complete(nothing, None))
    await attempts.record(Ending.complete(null, "null"))

    without = await table.fetch("SELECT id FROM tasks WHERE result IS NULL")
    assert [row["id"] for row in without] == [nothing.id]
    assert [(await tasks.get(claim.id)).result for claim in (nothing, null)] == [None, None]


async def test_payload_reaches_the_handler_equal(claim_one: Callable[..., Awaitable[Claim]]) -> None:
    claim = await claim_one(payload=KINDS, labels={"a": "b"})

    assert claim.payload == KINDS
    assert claim.labels == {"a": "b"}


async def test_state_is_the_short_form_of_the_task(
    tasks: Tasks, attempts: Attempts, claim_one: Callable[..., Awaitable[Claim]]
) -> None:
    claim = await claim_one(progress={"percent": 12.5, "message": "two of sixteen"})
    await attempts.record(Ending.complete(claim, None))

    state, task = await tasks.state(claim.id), await tasks.get(claim.id)

    assert state == TaskState(**{name: getattr(task, name) for name in TaskState.model_fields})
    assert state.progress.percent == 12.5


async def test_unknown_task_is_none_to_every_question(tasks: Tasks) -> None:
    unknown = an_id()

    assert await tasks.get(unknown) is None
    assert await tasks.state(unknown) is None
    assert await tasks.cancel(unknown) is None
    assert await tasks.rerun(unknown) is None
    assert await tasks.reschedule(unknown, TaskUpdate(priority=Priority.LOW)) is None


@pytest.mark.parametrize("status", TaskStatus)
async def test_cancel_answers_with_the_task_as_it_then_is(status: TaskStatus, tasks: Tasks, table: Any) -> None:
    task_id = await table.put(status)

    first = await tasks.cancel(task_id)
    stored = await tasks.get(task_id)
    again = await tasks.cancel(task_id)

    event = {
        TaskStatus.NEW: Event.CANCEL,
        TaskStatus.PENDING: Event.CANCEL,
        TaskStatus.IN_PROGRESS: Event.REQUEST_CANCEL,
    }.get(status)
    assert first.event is event
    assert first.task == stored
    assert again.event is (Event.REQUEST_CANCEL if status is TaskStatus.IN_PROGRESS else None)
    assert again.task.cancel_requested_at == first.task.cancel_requested_at


async def test_rerun_begins_from_a_clean_row(tasks: Tasks, table: Any) -> None:
    task_id = await table.put(
        "FAILED", failures=3, lost_count=1, attempt=5, worker_id=uuid4(), progress={"percent": 3.0}, rerun_count=1
    )

    changed = await tasks.rerun(task_id)

    task = changed.task
    assert changed.event is Event.RERUN
    assert task == await tasks.get(task_id)
    assert (task.status, task.attempt, task.failures, task.lost_count) == (TaskStatus.PENDING, 5, 0, 0)
    assert (task.rerun_count, task.error, task.worker_id, task.progress, task.started_at) == (2, None, None, None, None)


async def test_reschedule_changes_what_is_given_and_keeps_the_rest(tasks: Tasks, table: Any) -> None:
    task_id = await table.put(priority="LOW", run_at=timedelta(hours=1), due_at=timedelta(hours=1))
    before = await tasks.get(task_id)
    run_at = await table.now() + timedelta(hours=5)

    by_priority = (await tasks.reschedule(task_id, TaskUpdate(priority=Priority.HIGH))).task
    by_time = (await tasks.reschedule(task_id, TaskUpdate(run_at=run_at))).task
    to_the_past = (await tasks.reschedule(task_id, TaskUpdate(run_at=run_at - timedelta(days=1)))).task

    assert (by_priority.priority, by_priority.run_at, by_priority.due_at) == (
        Priority.HIGH,
        before.run_at,
        before.due_at,
    )
    assert (by_time.priority, by_time.run_at, by_time.due_at) == (Priority.HIGH, run_at, run_at)
    assert to_the_past.run_at == run_at - timedelta(days=1)
    assert to_the_past.run_at < to_the_past.due_at < run_at


async def test_reschedule_to_no_time_means_now(tasks: Tasks, table: Any) -> None:
    task_id = await table.put(run_at=timedelta(hours=1), due_at=timedelta(hours=1), dispatched_at=None)
    before = await table.now()

    changed = await tasks.reschedule(task_id, TaskUpdate(run_at=None))

    assert (changed.event, changed.task.run_at) == (Event.RESCHEDULE, None)
    assert before < changed.task.due_at < await table.now()


@pytest.mark.parametrize(
    ("versions", "event"),
    [(None, Event.RESCHEDULE), ([7], Event.RESCHEDULE), ([1, 7, 9], Event.RESCHEDULE), ([6], None), ([], None)],
)
async def test_reschedule_of_another_version_than_the_caller_knows_changes_nothing(
    versions: list[int] | None, event: Event | None, tasks: Tasks, table: Any
) -> None:
    task_id = await table.put(version=7)

    changed = await tasks.reschedule(task_id, TaskUpdate(priority=Priority.HIGH), versions=versions)

    assert (changed.event, changed.task.version) == (event, 8 if event else 7)
    assert changed.task == await tasks.get(task_id)


async def test_error_of_a_task_is_told_whole(
    tasks: Tasks, attempts: Attempts, claim_one: Callable[..., Awaitable[Claim]]
) -> None:
    claim = await claim_one()
    error = TaskError(code="failed", message="größer als erlaubt", type="ValueError")

    await attempts.record(Ending.fail(claim, error))

    assert (await tasks.get(claim.id)).error == error


async def test_purged_task_takes_its_attempts_along(tasks: Tasks, workers: Any, table: Any, purge: Any) -> None:
    dead = await table.dead_worker()
    task_id = await table.running(dead, lost_count=2)
    await workers.sweep(await workers.dead_holders(), rows=10)

    purged = await purge(workers, timedelta())

    assert purged == 1
    assert await tasks.get(task_id) is None
    assert await table.fetch("SELECT 1 FROM task_attempts") == []


async def test_old_tasks_are_found_oldest_first_each_once_with_their_sizes(workers: Any, table: Any) -> None:
    age = {"created_at": timedelta(days=-9)}
    at_once = await table.now() - timedelta(days=5)
    same = sorted([await table.put("FAILED", **age, finished_at=at_once, payload={"x": 1}) for _ in range(3)])
    oldest = await table.put("CANCELLED", **age, finished_at=timedelta(days=-7))
    for attempt, traceback in enumerate(["12345", "\u00e9" * 10, None]):
        await table.execute(
            "INSERT INTO task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, traceback)"
            " VALUES ($1, $2, $1, now(), now(), 'RETRY', $3)",
            oldest,
            attempt,
            traceback,
        )
    await table.put("FAILED", **age, finished_at=timedelta(days=-3))

    found, last = [], None
    while old := await workers.old_tasks(timedelta(days=4), rows=2, after=last):
        found += old
        last = old[-1]

    assert [one.id for one in found] == [oldest, *same]
    assert [one.body_bytes for one in found] == [2 + 25, 8, 8, 8]


async def test_task_that_was_found_and_then_rerun_is_not_purged(workers: Any, tasks: Tasks, table: Any) -> None:
    task_id = await table.put("FAILED", created_at=timedelta(days=-9), finished_at=timedelta(days=-7))
    (old,) = await workers.old_tasks(timedelta(days=4), rows=10)

    await tasks.rerun(task_id)

    assert await workers.purge(timedelta(days=4), [old.id]) == 0
    assert await table.status(task_id) == "PENDING"
