"""Decides for both clients when to send a call, when to wait and when to give up. No I/O.

A flow is a generator: it yields steps (`Send`, `Wait`) and is sent the outcome of each. A client only carries the
steps out. So the synchronous and the asynchronous client cannot differ, and tests need neither network nor time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, cast
from uuid import UUID

import httpx2

from task_client import _calls as calls
from task_client._answers import Model, no_answer, read
from task_client._calls import Call
from task_client._errors import TaskClientError, WaitTimeoutError
from task_client._repeats import RepeatPolicy
from task_contracts import BackOff, Task, TaskState

Result = TypeVar("Result")


@dataclass(frozen=True)
class Send:
    """Send a call. `timeout_seconds` bounds it where that is less than the client's own timeout."""

    call: Call
    timeout_seconds: float = math.inf


@dataclass(frozen=True)
class Wait:
    """Wait for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The flow has ended with a result."""

    result: Result


StepOutcome: TypeAlias = httpx2.Response | httpx2.RequestError | None
"""The outcome of a step: a response or an error of `Send`, None of `Wait`."""
Flow: TypeAlias = Generator[Send | Wait, StepOutcome, Result]

_STATUS_INTERVALS = BackOff(first_seconds=0.05, longest_seconds=1.0, factor=1.5)
_SHORTEST_REQUEST_SECONDS = 1.0


def advance(flow: Flow[Result], outcome: StepOutcome) -> Send | Wait | Done[Result]:
    """Give the flow the outcome of its last step (None to begin), and return its next step.

    Raises:
        TaskClientError: the flow ended with it.

    """
    try:
        return flow.send(outcome)
    except StopIteration as end:
        return Done(end.value)


def ask(call: Call, model: type[Model], repeats: RepeatPolicy) -> Flow[Model]:
    """Make one call, and repeat it after a pause where it may be repeated and that may help.

    Raises:
        TaskClientError: the one of the last try.

    """
    tries = 0
    while True:
        tries += 1
        try:
            return (yield from _ask_once(call, model))
        except TaskClientError as error:
            pause = repeats.pause_seconds(error, tries) if call.is_repeated else None
            if pause is None:
                raise
        yield Wait(pause)


def wait(task_id: UUID, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> Flow[Task]:
    """Read a task's state at growing intervals until it is terminal, then read the task.

    Errors that may pass do not end the wait.

    Raises:
        WaitTimeoutError: it is not terminal in time. Its cause is the last error, if one came after the last state.
        TaskClientError: an error that does not pass by itself.

    """
    end = clock() + timeout_seconds
    last: TaskState | None = None
    looks = 0
    while True:
        looks += 1
        trouble: TaskClientError | None = None
        try:
            last = yield from _ask_once(calls.status(task_id), TaskState, end - clock())
            if last.status.is_terminal:
                last = task = yield from _ask_once(calls.get(task_id), Task, end - clock())
                if task.status.is_terminal:  # else a caller asked for a RERUN in between
                    return task
        except TaskClientError as error:
            if not error.is_transient:
                raise
            trouble = error
        left = end - clock()
        if left <= 0:
            raise WaitTimeoutError(task_id, timeout_seconds, last) from trouble
        asked = (trouble and trouble.retry_after) or 0.0
        yield Wait(min(max(_STATUS_INTERVALS.pause_seconds(looks), asked), left))


def _ask_once(call: Call, model: type[Model], left_seconds: float = math.inf) -> Flow[Model]:
    outcome = yield Send(call, max(left_seconds, _SHORTEST_REQUEST_SECONDS))
    if isinstance(outcome, httpx2.RequestError):
        raise no_answer(outcome, call) from outcome
    return read(cast("httpx2.Response", outcome), call, model)  # only a wait has no outcome
