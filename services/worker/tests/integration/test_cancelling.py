"""P4: a cancelled task stays cancelled, and a running one is CANCELLED only after its code has stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from task_bus.signals import Signals
from task_contracts import Signal, SignalKind, Task
from task_contracts.lifecycle import Event
from task_store import Tasks
from task_worker import Context, handler

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]
Cancel = Callable[[UUID], Awaitable[None]]


@pytest.fixture
def cancel(tasks: Tasks, signals: Signals) -> Cancel:
    """Cancel a task and send a signal to the workers, as the API does."""

    async def one(task_id: UUID) -> None:
        await tasks.cancel(task_id)
        signals.send(Signal(kind=SignalKind.CANCEL, ids=(task_id,)))

    return one


class Handlers:
    """A handler that waits for ever on the loop, and one that polls in a thread; both note when they begin and stop."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.stopped_at: float | None = None
        loop = asyncio.get_running_loop()

        @handler("loop")
        async def on_loop() -> None:
            self.began.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped_at = time.monotonic()

        @handler("thread")
        def in_thread(context: Context) -> None:
            loop.call_soon_threadsafe(self.began.set)
            while not context.is_stopped:
                time.sleep(0.005)
            self.stopped_at = time.monotonic()
            context.raise_if_stopped()

        self.functions = (on_loop, in_thread)


async def test_a_waiting_task_is_cancelled_at_once_and_never_runs(
    start: Start, create: Create, cancel: Cancel, table: Any, until: Until
) -> None:
    ran = []

    @handler("t")
    async def run(payload: dict[str, Any]) -> None:
        ran.append(payload["n"])

    later = await create("t", payload={"n": 1}, run_at=datetime.now(UTC) + timedelta(seconds=0.4))
    await start(run)
    await cancel(later.id)
    await create("t", payload={"n": 2}, run_at=datetime.now(UTC) + timedelta(seconds=0.5))

    await until(lambda: ran == [2])
    assert await table.status(later.id) == "CANCELLED"


@pytest.mark.alone
@pytest.mark.parametrize("type_", ["loop", "thread"])
async def test_a_running_handler_is_stopped_by_the_signal(
    start: Start, create: Create, ended: Ended, cancel: Cancel, table: Any, type_: str
) -> None:
    handlers = Handlers()
    await start(*handlers.functions, lease_seconds=60)
    task = await create(type_)
    await handlers.began.wait()
    asked_at = time.monotonic()

    await cancel(task.id)

    row = await ended(task.id)
    assert row["status"] == "CANCELLED"
    assert handlers.stopped_at is not None
    assert handlers.stopped_at - asked_at < 1
    assert row["cancel_requested_at"] <= row["finished_at"]
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["CONFIRM_CANCEL"]


@pytest.mark.parametrize("type_", ["loop", "thread"])
async def test_with_the_signals_lost_it_is_stopped_by_the_next_heartbeat(
    start: Start, create: Create, ended: Ended, tasks: Tasks, type_: str
) -> None:
    handlers = Handlers()
    running = await start(*handlers.functions)
    task = await create(type_)
    await handlers.began.wait()
    asked_at = time.monotonic()

    await tasks.cancel(task.id)

    assert (await ended(task.id))["status"] == "CANCELLED"
    assert handlers.stopped_at is not None
    assert handlers.stopped_at - asked_at < running.settings.lease_seconds / 6 + 0.5


async def test_a_success_after_the_cancel_request_counts(
    start: Start, create: Create, ended: Ended, tasks: Tasks
) -> None:
    began = asyncio.Event()

    @handler("t")
    async def run() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done already"
        return ""

    await start(run)
    task = await create("t")
    await began.wait()

    await tasks.cancel(task.id)

    row = await ended(task.id)
    assert (row["status"], row["result"]) == ("COMPLETED", "done already")


async def test_a_failure_after_the_cancel_request_is_a_cancel_and_is_not_retried(
    start: Start, create: Create, ended: Ended, tasks: Tasks
) -> None:
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @handler("t")
    def run() -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(10)
        raise ValueError

    await start(run)
    task = await create("t")
    await began.wait()
    await tasks.cancel(task.id)
    go_on.set()

    row = await ended(task.id)

    assert (row["status"], row["attempt"]) == ("CANCELLED", 1)


async def test_no_answer_is_given_before_the_code_has_stopped(
    start: Start, create: Create, ended: Ended, cancel: Cancel, table: Any, until: Until
) -> None:
    began, tidied = asyncio.Event(), asyncio.Event()

    @handler("t")
    async def run() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await tidied.wait()

    running = await start(run)
    task = await create("t")
    await began.wait()
    await cancel(task.id)
    await until(lambda: running.worker._in_flight.attempts()[0].stop_reason)

    assert await table.status(task.id) == "IN_PROGRESS"
    tidied.set()
    assert (await ended(task.id))["status"] == "CANCELLED"


async def test_a_cancel_at_the_moment_of_completion_has_one_winner(
    start: Start, create: Create, ended: Ended, tasks: Tasks
) -> None:
    @handler("t")
    async def run() -> str:
        await asyncio.sleep(0.02)
        return "done"

    await start(run, concurrency=100)

    async def race(after_seconds: float) -> tuple[Event | None, UUID]:
        task = await create("t")
        await asyncio.sleep(after_seconds)  # the moment is what is tested
        changed = await tasks.cancel(task.id)
        assert changed is not None
        return changed.event, task.id

    raced: list[tuple[Event | None, UUID]] = []
    for group in range(5):  # not all at once: two connections may need more than 3 s for 150 cancels
        raced += await asyncio.gather(*(race(n / 2_000) for n in range(group, 150, 5)))

    for event, task_id in raced:
        row = await ended(task_id)
        assert (row["status"] == "COMPLETED") == (row["result"] == "done")
        assert row["attempt"] <= 1
        match event:
            case Event.CANCEL:
                assert (row["status"], row["attempt"]) == ("CANCELLED", 0)
            case Event.REQUEST_CANCEL:
                assert row["status"] in {"COMPLETED", "CANCELLED"}
            case _:
                assert row["status"] == "COMPLETED"
