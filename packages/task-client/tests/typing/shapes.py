"""Types that a type checker must infer for the clients. Checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import assert_type
from uuid import UUID

from task_client import AsyncTaskClient, Health, ProblemError, RepeatPolicy, TaskClient, TaskFilters, WaitTimeoutError
from task_contracts import BackOff, Priority, Task, TaskCreate, TaskPage, TaskState, TaskStatus, TaskSummary, View


def synchronous(client: TaskClient, task_id: UUID) -> None:
    assert_type(client.create(TaskCreate(name="a", priority=Priority.HIGH)), Task)
    assert_type(client.get(task_id), Task)
    assert_type(client.get(str(task_id)), Task)
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


async def asynchronous(client: AsyncTaskClient, task_id: UUID) -> None:
    assert_type(await client.create(TaskCreate(name="a")), Task)
    assert_type(await client.wait(task_id, 1.5), Task)
    assert_type(client.list(queue="reports"), AsyncIterator[TaskSummary])
    assert_type(client.list(view=View.FULL), AsyncIterator[Task])
    assert_type(await client.page(), TaskPage[TaskSummary])
    assert_type(await client.health(), Health)
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


def repeats() -> None:
    TaskClient("http://127.0.0.1:9000", repeats=RepeatPolicy(tries=1))
    AsyncTaskClient("http://127.0.0.1:9000", repeats=RepeatPolicy(back_off=BackOff(0.5, 10)))


def errors(error: ProblemError, late: WaitTimeoutError) -> None:
    assert_type(error.status, int)
    assert_type(error.retry_after, float | None)
    assert_type(error.errors[0].field, str)
    assert_type(late.last, TaskState | None)
