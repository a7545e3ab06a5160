"""What both clients do, without doing it: when to ask, when to wait, when to give up.

A flow is a generator that yields steps (a call, a wait) and is sent what came of each; a client only carries the
steps out. So the synchronous and the asynchronous client cannot differ, and tests need neither network nor time.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, cast
from uuid import UUID

import httpx2

from task_client import _calls as calls
from task_client._answers import Model, no_answer, read
from task_client._calls import Call
from task_client._errors import RequestTimeoutError, TaskClientError, WaitTimeoutError
from task_contracts import Task, TaskState

Result = TypeVar("Result")


@dataclass(frozen=True)
class Send:
    """Send a call. `timeout_seconds` bounds it where that is less than the client's own timeout."""

    call: Call
    timeout_seconds: float = math.inf


@dataclass(frozen=True)
class Wait:
    """Let `seconds` go by."""

    seconds: float


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The flow has come to its end with a result."""

    result: Result


StepOutcome: TypeAlias = httpx2.Response | httpx2.RequestError | None
"""What came of a step: of a call a response or an error, of a wait nothing."""
Flow: TypeAlias = Generator[Send | Wait, StepOutcome, Result]

ATTEMPTS = 3
"""How often a call is made at most that is repeated by the client itself."""
LONGEST_RETRY_AFTER_SECONDS = 5.0
"""Who asks for a longer pause gets none: the caller hears of it instead."""

_FIRST_BACK_OFF_SECONDS = 0.2
_FIRST_POLL_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 1.0
_POLL_GROWTH = 1.5
_SHORTEST_REQUEST_SECONDS = 1.0


def advance(flow: Flow[Result], outcome: StepOutcome) -> Send | Wait | Done[Result]:
    """Tell the flow what came of its last step (None to begin) and return its next one.

    Raises:
        TaskClientError: the flow ended with it.

    """
    try:
        return flow.send(outcome)
    except StopIteration as end:
        return Done(end.value)


def ask(call: Call, model: type[Model]) -> Flow[Model]:
    """Make one call, and again after a pause where it is one to repeat and that may help.

    Raises:
        TaskClientError: the last attempt's.

    """
    attempt = 1
    while True:
        try:
            return (yield from _ask_once(call, model))
        except TaskClientError as error:
            pause = _back_off_seconds(error, attempt)
            if not call.is_repeated or attempt == ATTEMPTS or pause is None:
                raise
        yield Wait(pause)
        attempt += 1


def wait(task_id: UUID, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> Flow[Task]:
    """Poll a task's state, ever more slowly, until it is terminal; then read the task.

    Trouble that may pass does not end the waiting.

    Raises:
        WaitTimeoutError: it is not terminal in time; caused by the last trouble, if there was any since its last state.
        TaskClientError: anything that does not pass by itself.

    """
    end, poll_seconds = clock() + timeout_seconds, _FIRST_POLL_SECONDS
    last: TaskState | None = None
    while True:
        trouble: TaskClientError | None = None
        try:
            last = yield from _ask_once(calls.status(task_id), TaskState, end - clock())
            if last.status.is_terminal:
                last = task = yield from _ask_once(calls.get(task_id), Task, end - clock())
                if task.status.is_terminal:  # else somebody asked for another run in between
                    return task
        except TaskClientError as error:
            if not error.is_transient:
                raise
            trouble = error
        left = end - clock()
        if left <= 0:
            raise WaitTimeoutError(task_id, timeout_seconds, last) from trouble
        asked = (trouble and trouble.retry_after) or 0.0
        yield Wait(min(max(poll_seconds, asked), left))
        poll_seconds = min(poll_seconds * _POLL_GROWTH, _LONGEST_POLL_SECONDS)


def _ask_once(call: Call, model: type[Model], left_seconds: float = math.inf) -> Flow[Model]:
    outcome = yield Send(call, max(left_seconds, _SHORTEST_REQUEST_SECONDS))
    if isinstance(outcome, httpx2.RequestError):
        raise no_answer(outcome, call) from outcome
    return read(cast("httpx2.Response", outcome), call, model)  # only a wait has no outcome


def _back_off_seconds(error: TaskClientError, attempt: int) -> float | None:
    """Return the pause before the next attempt, or None where another one is of no use."""
    asked = error.retry_after or 0.0
    if not error.is_transient or asked > LONGEST_RETRY_AFTER_SECONDS:
        return None
    if isinstance(error, RequestTimeoutError):
        return None  # the caller has waited for as long as it wanted to
    longest = _FIRST_BACK_OFF_SECONDS * 2 ** (attempt - 1)
    return max(asked, random.uniform(longest / 2, longest))  # noqa: S311 # spreads clients, guards nothing
