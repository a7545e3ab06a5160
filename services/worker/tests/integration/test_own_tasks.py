"""A single task on an idle system: the worker that leads claims it without a mark and a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from task_bus.signals import Signals
from task_contracts import Signal, SignalKind, Task
from task_contracts.testing import a_create
from task_store import NewTask, Tasks
from task_worker import handler

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]


@pytest.fixture
def create_one(tasks: Tasks, signals: Signals) -> Create:
    """Create a task and send the wake-up that names it, as the API does for a single one."""

    async def one(type_: str) -> Task:
        task = await tasks.create(NewTask(a_create(), type_))
        signals.send(Signal(kind=SignalKind.DUE, queue=task.queue, ids=(task.id,)))
        return task

    return one


@handler("a")
async def a() -> None:
    pass


async def test_one_that_has_just_become_due_is_claimed_without_a_mark(
    start: Start, create_one: Create, ended: Ended, until: Until
) -> None:
    running = await start(a)
    await until(lambda: running.worker._leader.is_leading)

    rows = [await ended((await create_one("a")).id) for _ in range(20)]

    assert {(row["status"], row["attempt"]) for row in rows} == {("COMPLETED", 1)}
    assert None in [row["dispatched_at"] for row in rows]  # all of them, but where the machine is busy
    assert running.polled == 0
