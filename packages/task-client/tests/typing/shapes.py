"""Types that a type checker must infer for the clients. Checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime
from typing import assert_type
from uuid import UUID

from task_client import (
    ApiKey,
    AsyncTaskClient,
    Attempt,
    AuditEntry,
    AuditPage,
    BackOff,
    CreatedApiKey,
    ErrorGroup,
    Explanation,
    Health,
    Pause,
    Priority,
    ProblemError,
    RepeatPolicy,
    Scope,
    Task,
    TaskClient,
    TaskCreate,
    TaskFilters,
    TaskPage,
    TaskState,
    TaskStatus,
    TaskSummary,
    View,
    WaitTimeoutError,
)
from task_client.testing import FakeService


def synchronous(client: TaskClient, task_id: UUID) -> None:
    assert_type(client.create(TaskCreate(name="a", priority=Priority.HIGH)), Task)
    assert_type(client.create({"name": "a", "payload": {"n": 1}}, key="k"), Task)
    assert_type(client.create(name="a", payload={"n": [1]}, labels={"a": "b"}, key="k"), Task)
    client.create(payload={})  # type: ignore[call-overload] # has no name
    client.create(name="a", colour="red")  # type: ignore[call-overload] # not a field
    assert_type(client.get(task_id), Task)
    assert_type(client.get(str(task_id)), Task)
    assert_type(client.rerun(task_id), Task)
    assert_type(client.update(task_id, priority=Priority.LOW, run_at="now", if_version=3), Task)
    client.update(task_id, run_at="soon")  # type: ignore[arg-type] # a time, or "now"
    assert_type(client.cancel_many(queue="a", labels={"a": "b"}, dry_run=True), int)
    assert_type(client.rerun_many(every=True, on_progress=print), int)
    assert_type(client.status(task_id), TaskState)
    assert_type(client.cancel(task_id), Task)
    assert_type(client.wait(task_id, timeout_seconds=1), Task)
    assert_type(client.list(), Iterator[TaskSummary])
    assert_type(client.list(view=View.FULL), Iterator[Task])
    assert_type(client.page(include_total=True), TaskPage[TaskSummary])
    assert_type(client.page(view=View.FULL, cursor="x"), TaskPage[Task])
    assert_type(client.ready(), Health)
    with client as same:
        assert_type(same, TaskClient)


def operating(client: TaskClient) -> None:
    assert_type(client.create_key("a", [Scope.KEYS, "operate"], owner="b"), CreatedApiKey)
    assert_type(client.list_keys(include_revoked=True), list[ApiKey])
    client.revoke_key("4hT0mB2kQx9Z")
    assert_type(client.list_audit(action="tasks.pause"), Iterator[AuditEntry])
    assert_type(client.audit_page(limit=5, cursor="x"), AuditPage)
    assert_type(client.pause(queue="a", priority=Priority.LOW, until=datetime(2030, 1, 1, tzinfo=UTC)), Pause)
    assert_type(client.list_pauses(), list[Pause])
    assert_type(client.resume("a"), Pause)


def many(client: TaskClient) -> None:
    tasks = client.create_many({"name": f"page {n}", "payload": {"n": n}} for n in range(500))
    assert_type(tasks, list[TaskSummary])
    client.create_many([TaskCreate(name="a")])
    assert_type(next(client.iter_create_many([{"name": "a"}])), TaskSummary)
    for task in client.as_completed(tasks, timeout_seconds=60):
        assert_type(task, Task)
    client.as_completed([tasks[0].id, str(tasks[0].id), tasks[0]])
    assert_type(next(client.map("echo", [{"n": 1}], priority=Priority.LOW, wait_seconds=5)), Task)
    assert_type(next(client.events(tasks[0].id)), TaskState)
    with closing(client.events(queue="a", status=TaskStatus.FAILED)) as changes:
        assert_type(next(changes), TaskState)


async def many_asynchronous(client: AsyncTaskClient) -> None:
    tasks = await client.create_many({"name": f"page {n}"} for n in range(500))
    assert_type(tasks, list[TaskSummary])
    async for summary in client.iter_create_many([{"name": "a"}]):
        assert_type(summary, TaskSummary)
    async for task in client.as_completed(tasks):
        assert_type(task, Task)
    async for task in client.map("echo", [{"n": 1}]):
        assert_type(task, Task)
    async with aclosing(client.events(labels={"a": "b"})) as changes:
        async for state in changes:
            assert_type(state, TaskState)


def fake(service: FakeService, task_id: UUID) -> None:
    @service.on("words.count")
    def count(payload: dict[str, str]) -> int:
        return len(payload["text"].split())

    assert_type(count({"text": "a"}), int)
    assert_type(service.client(), TaskClient)
    assert_type(service.async_client(timeout_seconds=1), AsyncTaskClient)
    assert_type(service.complete(task_id, {"any": "thing"}), Task)
    assert_type(service.tasks, list[Task])


async def asynchronous(client: AsyncTaskClient, task_id: UUID) -> None:
    assert_type(await client.create(TaskCreate(name="a")), Task)
    assert_type(await client.wait(task_id, 1.5), Task)
    assert_type(client.list(queue="reports"), AsyncIterator[TaskSummary])
    assert_type(client.list(view=View.FULL), AsyncIterator[Task])
    assert_type(await client.page(), TaskPage[TaskSummary])
    assert_type(await client.health(), Health)
    assert_type(await client.attempts(task_id), list[Attempt])
    assert_type(await client.explain(task_id), Explanation)
    assert_type(await client.pause(every=True), Pause)
    assert_type(client.list_audit(), AsyncIterator[AuditEntry])
    assert_type(await client.errors(), list[ErrorGroup])
    async for task in client.list(view=View.FULL, status=TaskStatus.FAILED):
        assert_type(task, Task)
    async with client as same:
        assert_type(same, AsyncTaskClient)


def filters(client: TaskClient) -> None:
    narrowed: TaskFilters = {"status": [TaskStatus.NEW, TaskStatus.PENDING], "labels": {"customer": "42"}}
    client.list(**narrowed)
    client.list(created_from=datetime(2026, 11, 1, tzinfo=UTC), priority={Priority.LOW})
    client.list(limit="7")  # type: ignore[call-overload] # a number
    client.list(colour="blue")  # type: ignore[call-overload] # not a filter
    client.list(cursor="x")  # type: ignore[call-overload] # belongs to `page`


def keys() -> None:
    TaskClient("http://127.0.0.1:9000", api_key="ts_")
    AsyncTaskClient("http://127.0.0.1:9000", api_key=lambda: "ts_")
    TaskClient("http://127.0.0.1:9000", api_key=lambda: 7)  # type: ignore[arg-type] # no text


def repeats() -> None:
    TaskClient("http://127.0.0.1:9000", repeats=RepeatPolicy(tries=1))
    AsyncTaskClient("http://127.0.0.1:9000", repeats=RepeatPolicy(back_off=BackOff(0.5, 10)))


def errors(error: ProblemError, late: WaitTimeoutError) -> None:
    assert_type(error.status, int)
    assert_type(error.retry_after, float | None)
    assert_type(error.errors[0].field, str)
    assert_type(late.last, TaskState | None)
