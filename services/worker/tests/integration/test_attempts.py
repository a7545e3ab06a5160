"""How a task goes on after an attempt, by the outcome of its handler."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, model_validator

from task_contracts import BackOff, Task
from task_worker import Context, Fail, Retry, Snooze, handler
from task_worker.timings import AttemptTimings, WorkerTimings

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]


@pytest.fixture
def timings(timings: WorkerTimings) -> WorkerTimings:
    return replace(timings, attempt=AttemptTimings(retry=BackOff(first_seconds=0.1, longest_seconds=0.1, jitter=1.0)))


class Report(BaseModel):
    month: str
    copies: int = 1


async def test_a_task_with_nothing_but_a_name_completes(start: Start, create: Create, ended: Ended) -> None:
    await start()

    row = await ended((await create(payload={"a": [1, "é", None]})).id)

    assert (row["status"], row["result"], row["attempt"], row["failures"]) == (
        "COMPLETED",
        {"a": [1, "é", None]},
        1,
        0,
    )
    assert row["created_at"] <= row["started_at"] <= row["finished_at"]
    assert row["error"] is None


async def test_typed_payloads_reach_handlers_on_the_loop_and_in_threads(
    start: Start, create: Create, ended: Ended
) -> None:
    @handler("loop")
    async def on_loop(payload: Report, context: Context) -> dict[str, Any]:
        return {"month": payload.month, "type": context.type, "attempt": context.attempt, **context.labels}

    @handler("thread")
    def in_thread(payload: Report) -> str:
        return payload.month * payload.copies

    await start(on_loop, in_thread)
    first = await create("loop", payload={"month": "m"}, labels={"customer": "42"})
    second = await create("thread", payload={"month": "m", "copies": 3})

    assert (await ended(first.id))["result"] == {"month": "m", "type": "loop", "attempt": 1, "customer": "42"}
    assert (await ended(second.id))["result"] == "mmm"


async def test_a_payload_that_does_not_fit_fails_the_task_at_once(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    @handler("report")
    async def report(payload: Report) -> None:
        raise AssertionError

    await start(report)
    task = await create("report", payload={"copies": "many"})

    row = await ended(task.id)

    assert (row["status"], row["attempt"], row["failures"]) == ("FAILED", 1, 1)
    assert row["error"] == {
        "code": "invalid_payload",
        "message": "the payload does not fit: month: Field required",
        "type": None,
    }
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["FAIL"]


class Reader(BaseModel):
    """Notes where it is read; a text ends the reading late."""

    wait_seconds: float = 0

    @model_validator(mode="after")
    def read(self) -> Reader:
        READ_IN.append(threading.current_thread().name)
        time.sleep(self.wait_seconds)
        return self


READ_IN: list[str] = []


async def test_validators_run_where_the_handler_runs_within_its_time(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    @handler("thread", timeout_seconds=0.2, max_attempts=1)
    def in_thread(payload: Reader) -> str:
        return threading.current_thread().name

    @handler("echoes")
    async def on_loop(payload: Reader) -> str:
        return threading.current_thread().name

    READ_IN.clear()
    await start(in_thread, on_loop)
    quick, slow = await create("thread", payload={}), await create("thread", payload={"wait_seconds": 0.5})
    loop = await create("echoes", payload={})

    rows = [await ended(task.id) for task in (quick, slow, loop)]

    assert [row["status"] for row in rows] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert rows[1]["error"]["code"] == "timeout"
    assert sorted(READ_IN) == sorted([rows[0]["result"], rows[0]["result"], rows[2]["result"]])
    assert rows[0]["result"] != threading.current_thread().name == rows[2]["result"]


async def test_progress_is_written_and_folded(
    start: Start, create: Create, ended: Ended, table: Any, until: Until
) -> None:
    go_on = asyncio.Event()

    @handler("t")
    async def run(context: Context) -> None:
        for percent in range(51):
            context.progress(percent, f"page {percent}")
        await go_on.wait()
        context.progress(100, "done")

    await start(run)
    task = await create("t")

    async def progress() -> Any:
        row = await table.task(task.id)
        return row["progress"] and row

    row = await until(progress)
    assert row["progress"] == {"percent": 50.0, "message": "page 50"}
    assert row["version"] <= 4  # created, dispatched, claimed, and one write for 51 reports

    go_on.set()
    assert (await ended(task.id))["progress"] == {"percent": 100.0, "message": "done"}


async def test_a_failure_is_retried_until_no_attempt_is_left(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    calls = []

    @handler("t", max_attempts=5)
    def run(context: Context) -> None:
        calls.append(context.attempt)
        local = f"a local value {context.id}"
        raise ValueError(f"broken {len(calls)}", len(local))

    worker = await start(run)
    task = await create("t", max_attempts=3)

    row = await ended(task.id)

    assert (row["status"], row["attempt"], row["failures"], calls) == ("FAILED", 3, 3, [1, 2, 3])
    assert (row["error"]["code"], row["error"]["type"]) == ("handler_error", "ValueError")
    attempts = await table.attempts(task.id)
    assert [(one["attempt"], one["outcome"]) for one in attempts] == [(1, "RETRY"), (2, "RETRY"), (3, "FAIL")]
    for number, one in enumerate(attempts, 1):
        assert f"broken {number}" in one["error"]["message"]
        assert "raise ValueError" in one["traceback"]
        assert "a local value" not in one["traceback"].replace('local = f"a local value {context.id}"', "")
        assert len(one["traceback"].encode()) <= 16 << 10
        assert one["worker_id"] == worker.id
        assert one["started_at"] <= one["ended_at"]


async def test_retries_are_spread_by_the_backoff(
    start: Start, create: Create, table: Any, until: Until, timings: WorkerTimings
) -> None:
    retry = BackOff(first_seconds=100.0, longest_seconds=1000.0)

    @handler("t")
    async def run() -> None:
        raise ValueError

    await start(run, timings=replace(timings, attempt=AttemptTimings(retry=retry)))
    task = await create("t")

    async def failed() -> Any:
        row = await table.task(task.id)
        return row["failures"] and row

    row = await until(failed)
    (attempt,) = await table.attempts(task.id)
    assert (row["status"], row["dispatched_at"]) == ("PENDING", None)
    assert timedelta(seconds=99) < row["due_at"] - attempt["ended_at"] < timedelta(seconds=101)


async def test_retry_comes_when_it_asked_to_and_counts(start: Start, create: Create, ended: Ended) -> None:
    @handler("t")
    async def run(context: Context) -> int:
        if context.attempt < 3:
            raise Retry("not yet", after_seconds=0)
        return context.attempt

    await start(run)

    row = await ended((await create("t")).id)

    assert (row["status"], row["result"], row["failures"], row["error"]) == ("COMPLETED", 3, 2, None)


async def test_a_retry_without_an_attempt_left_fails(start: Start, create: Create, ended: Ended) -> None:
    @handler("t", max_attempts=2)
    async def run() -> None:
        raise Retry(after_seconds=0, code="busy")

    await start(run)

    row = await ended((await create("t")).id)

    assert (row["status"], row["attempt"], row["error"]["code"]) == ("FAILED", 2, "busy")


async def test_snooze_keeps_its_time_forgets_failures_and_leaves_no_attempt(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    began: list[float] = []

    @handler("t", max_attempts=2)
    async def run(context: Context) -> int:
        began.append(time.time())
        if context.attempt in {1, 3, 5}:
            raise Retry(after_seconds=0)
        if context.attempt in {2, 4}:
            raise Snooze(after_seconds=0.1)
        return context.attempt

    await start(run)
    task = await create("t")

    row = await ended(task.id)

    assert (row["status"], row["result"], row["failures"]) == ("COMPLETED", 6, 1)
    attempts = await table.attempts(task.id)
    assert [(one["attempt"], one["outcome"]) for one in attempts] == [(1, "RETRY"), (3, "RETRY"), (5, "RETRY")]
    assert began[2] - began[1] >= 0.1
    assert began[4] - began[3] >= 0.1


async def test_fail_ends_the_task_whatever_attempts_are_left(start: Start, create: Create, ended: Ended) -> None:
    @handler("t", max_attempts=25)
    def run() -> None:
        raise Fail("no such customer", code="no_customer")

    await start(run)

    row = await ended((await create("t")).id)

    assert (row["status"], row["attempt"]) == ("FAILED", 1)
    assert row["error"] == {"code": "no_customer", "message": "no such customer", "type": "Fail"}


def cyclic() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


UNSTORABLE: list[Callable[[], Any]] = [
    lambda: {"a": "b\x00"},
    lambda: {"a": math.nan},
    lambda: "x" * 50_000_000,
    cyclic,
    lambda: "\ud800",
    object,
]
STORABLE = ["\U0001f600 é", 2**63 - 1, 1.5, {"k": {}}, [], 0, False, "", None]


async def test_a_result_that_cannot_be_stored_fails_the_task_and_never_loops(
    start: Start, create: Create, ended: Ended
) -> None:
    @handler("t", max_attempts=25)
    async def run(payload: dict[str, int]) -> Any:
        return UNSTORABLE[payload["n"]]()

    await start(run)
    tasks = [await create("t", payload={"n": n}) for n in range(len(UNSTORABLE))]

    for task in tasks:
        row = await ended(task.id)
        assert (row["status"], row["attempt"], row["error"]["code"]) == ("FAILED", 1, "unstorable_result")


async def test_results_come_back_as_they_were(start: Start, create: Create, ended: Ended) -> None:
    @handler("t")
    async def run(payload: dict[str, int]) -> Any:
        return STORABLE[payload["n"]]

    await start(run)
    tasks = [await create("t", payload={"n": n}) for n in range(len(STORABLE))]

    for task, value in zip(tasks, STORABLE, strict=True):
        row = await ended(task.id)
        assert (row["status"], row["result"]) == ("COMPLETED", value)


async def test_a_timeout_is_a_failure_that_is_retried(start: Start, create: Create, ended: Ended, table: Any) -> None:
    @handler("t", max_attempts=2)
    async def run() -> None:
        await asyncio.Event().wait()

    await start(run)
    task = await create("t", timeout_seconds=0.05)

    row = await ended(task.id)

    assert (row["status"], row["attempt"]) == ("FAILED", 2)
    assert row["error"]["code"] == "timeout"
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["RETRY", "FAIL"]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("payload", '{"x": 1e999}'),
        ("payload", r'{"x": "\ud800"}'),
        ("payload", "[]"),
        ("labels", '{"x": 1e400}'),
        ("labels", "[1]"),
        ("checkpoint", "[1e999]"),
    ],
)
async def test_json_that_cannot_be_read_fails_its_task_alone(
    start: Start, create: Create, ended: Ended, table: Any, column: str, text: str
) -> None:
    @handler("t")
    def run(payload: dict[str, Any]) -> int:
        return len(payload)

    tasks = [await create("t") for _ in range(10)]
    await table.execute(f"UPDATE tasks SET {column} = '{text}' WHERE id = $1", tasks[4].id)
    await start(run)

    rows = [await ended(task.id) for task in tasks]

    assert [row["status"] for row in rows] == ["COMPLETED"] * 4 + ["FAILED"] + ["COMPLETED"] * 5
    assert rows[4]["error"]["code"] == "invalid_payload"
    assert rows[4]["error"]["message"].startswith(f"the stored {column} cannot be read: ")
