"""`task_worker.testing` behaves like a worker: handlers that both run end the same way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from task_contracts import Task
from task_contracts.lifecycle import Event
from task_store import Tasks
from task_worker.loader import load_handlers
from task_worker.testing import RunOutcome, arun

Create = Callable[..., Awaitable[Task]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

HANDLERS = """
import asyncio, os, sys, time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pydantic import BaseModel, field_serializer
from task_worker import Context, Fail, Retry, Snooze, handler


def value(payload, context):
    context.progress(20, "begun")
    context.progress(80.5, "nearly")
    return {"payload": payload, "labels": context.labels, "attempt": context.attempt, "type": context.type}


def nothing(payload, context):
    pass


def unstorable(payload, context):
    return {"a": [float("nan")]}


@dataclass
class Row:
    price: Decimal


def python_types(payload, context):
    return {"at": datetime(2026, 1, 2, tzinfo=UTC), "rows": [Row(Decimal("1.10"))], 1: {"a"}}


class Leaving(BaseModel):
    x: int = 1

    @field_serializer("x")
    def leave(self, value):
        sys.exit(3)


def leaves_when_written(payload, context):
    return [Leaving()]


def no_json(payload, context):
    return [{"owner": object()}]


def fails(payload, context):
    raise Fail("none such\\x00", code="no_customer")


def asks(payload, context):
    raise Retry("busy", after_seconds=30)


def snoozes(payload, context):
    context.progress(1)
    raise Snooze(after_seconds=60)


def raises(payload, context):
    raise LookupError("nowhere")


def exits(payload, context):
    sys.exit(3)


ENDING = [value, nothing, python_types, unstorable, no_json, leaves_when_written, fails, asks, snoozes, raises, exits]


def on_loop(work):
    async def run(payload: dict, context: Context):
        return work(payload, context)

    return run


def elsewhere(work):
    def run(payload: dict, context: Context):
        return work(payload, context)

    return run


for work in ENDING:
    name = work.__name__
    globals()[f"{name}_loop"] = handler(f"{name}.loop")(on_loop(work))
    globals()[f"{name}_thread"] = handler(f"{name}.thread")(elsewhere(work))
    globals()[f"{name}_process"] = handler(f"{name}.process", in_process=True)(elsewhere(work))


@handler("typed.loop")
async def typed(payload: list[int]) -> None: ...


@handler("stays.loop")
async def stays_on_loop(context: Context) -> None:
    context.progress(50)
    await asyncio.Event().wait()


@handler("stays.thread")
def stays_in_thread(context: Context) -> str:
    context.progress(50)
    while not context.is_stopped:
        time.sleep(0.005)
    raise ValueError("was disturbed")


@handler("stays.process", in_process=True)
def stays_in_process(context: Context) -> None:
    context.progress(50)
    time.sleep(60)


@handler("done.loop")
async def done_already(context: Context) -> str:
    context.progress(50)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "done already"


@handler("dies.process", in_process=True)
def dies() -> None:
    os._exit(7)
"""


@pytest.fixture(autouse=True)
def one_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the back-off long, so that no second attempt hides the first, and the same on both sides."""
    monkeypatch.setattr("random.uniform", lambda low, high: 50.0)


class Both:
    """Runs handlers by a worker and by `task_worker.testing`, and returns how the first attempts ended, in one form."""

    def __init__(self, place: str, create: Create, tasks: Tasks, table: Any, until: Until) -> None:
        self._place = place
        self._create = create
        self._tasks = tasks
        self._table = table
        self._until = until
        self.handlers = {type_: handler for type_, handler in load_handlers(place).items() if "." in type_}

    async def by_worker(self, *types: str, cancel: bool = False, **fields: Any) -> dict[str, Any]:
        task_by_type = {type_: await self._create(type_, **fields) for type_ in types}
        if cancel:
            for task in task_by_type.values():
                await self._until(lambda task=task: self._has_progress(task))
                await self._tasks.cancel(task.id)
        return {type_: await self._first_end(task) for type_, task in task_by_type.items()}

    async def by_testing(self, *types: str, cancel: bool = False, **fields: Any) -> dict[str, Any]:
        runs = [
            arun(
                self.handlers[type_].function,
                **fields,
                cancel_at_percent=50 if cancel else None,
                in_process_from=self._place if type_.endswith(".process") else None,
            )
            for type_ in types
        ]
        return dict(zip(types, map(fields_of, await asyncio.gather(*runs)), strict=True))

    async def _first_end(self, task: Task) -> dict[str, Any]:
        row = await self._until(lambda: self._ended(task))
        attempts = await self._table.attempts(task.id)
        is_waiting = row["status"] == "PENDING"
        # Neither a value nor a snooze leaves a row behind.
        without_row = {"outcome": "SNOOZE" if is_waiting else "COMPLETE", "error": None, "traceback": None}
        first = attempts[0] if attempts else {**without_row, "ended_at": row["started_at"]}
        return {
            "event": first["outcome"],
            "status": row["status"],
            "result": row["result"],
            "error": first["error"],
            "traceback": first["traceback"],
            "progress": row["progress"],
            "after_seconds": _seconds(row, first) if is_waiting else None,
        }

    async def _has_progress(self, task: Task) -> bool:
        return (await self._table.task(task.id))["progress"] is not None

    async def _ended(self, task: Task) -> dict[str, Any] | None:
        row = dict(await self._table.task(task.id))
        return row if row["attempt"] and row["status"] != "IN_PROGRESS" else None


def _seconds(row: dict[str, Any], attempt: dict[str, Any]) -> int:
    """Return how long a task waits; that of a snooze, of which only the begin is known, in whole minutes."""
    seconds = round((row["due_at"] - attempt["ended_at"]).total_seconds())
    return seconds // 60 * 60 if attempt["outcome"] == "SNOOZE" else seconds


def fields_of(outcome: RunOutcome) -> dict[str, Any]:
    return {
        "event": str(outcome.event),
        "status": str(outcome.status),
        "result": outcome.result if outcome.event is Event.COMPLETE else None,
        "error": outcome.error and outcome.error.model_dump(),
        "traceback": outcome.traceback,
        "progress": outcome.progress[-1].model_dump() if outcome.progress else None,
        "after_seconds": None if outcome.after_seconds is None else round(outcome.after_seconds),
    }


@pytest.fixture
async def both(start: Start, tmp_path: Path, create: Create, tasks: Tasks, table: Any, until: Until) -> Both:
    (tmp_path / "both_handlers.py").write_text(HANDLERS)
    place = str(tmp_path / "both_handlers.py")
    await start(handlers=place)
    return Both(place, create, tasks, table, until)


STAYING = ("stays.loop", "stays.thread", "stays.process", "done.loop")


async def test_attempts_that_end_by_themselves_end_alike(both: Both) -> None:
    types = [type_ for type_ in both.handlers if type_ not in STAYING]
    fields = {"payload": {"n": 1, "text": "é"}, "labels": {"customer": "42"}}

    by_worker = await both.by_worker(*types, **fields)
    by_testing = await both.by_testing(*types, **fields)

    assert by_testing == by_worker
    assert {one["event"] for one in by_worker.values()} == {"COMPLETE", "FAIL", "RETRY", "SNOOZE"}


async def test_the_last_attempt_ends_alike(both: Both) -> None:
    types = [type_ for type_ in both.handlers if type_.startswith(("raises", "asks", "snoozes", "dies"))]

    by_worker = await both.by_worker(*types, max_attempts=1)
    by_testing = await both.by_testing(*types, max_attempts=1)

    assert by_testing == by_worker
    assert {one["event"] for one in by_worker.values()} == {"FAIL", "SNOOZE"}


async def test_what_is_cancelled_ends_alike(both: Both) -> None:
    by_worker = await both.by_worker(*STAYING, cancel=True)
    by_testing = await both.by_testing(*STAYING, cancel=True)

    assert by_testing == by_worker
    assert [one["status"] for one in by_worker.values()] == ["CANCELLED"] * 3 + ["COMPLETED"]


async def test_what_is_out_of_time_ends_alike(both: Both) -> None:
    by_worker = await both.by_worker(*STAYING, timeout_seconds=0.3)
    by_testing = await both.by_testing(*STAYING, timeout_seconds=0.3)

    for one in (*by_worker.values(), *by_testing.values()):
        del one["progress"]  # a process may have reported by then, or not
    assert by_testing == by_worker
    assert {one["error"]["code"] for one in by_worker.values()} == {"timeout"}


async def test_a_handler_for_a_process_ends_alike_in_a_thread(both: Both) -> None:
    types = [type_ for type_ in both.handlers if type_.endswith("process") and not type_.startswith(("stays", "dies"))]

    in_process = await both.by_worker(*types, payload={"n": 1})
    here = {type_: fields_of(await arun(both.handlers[type_].function, {"n": 1})) for type_ in types}

    for one in (*in_process.values(), *here.values()):
        del one["traceback"]  # it shows where the code ran
    assert here == in_process
