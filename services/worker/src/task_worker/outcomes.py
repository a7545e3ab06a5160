"""What can come of running a handler, and how the attempt then ends. Pure: decides, and does nothing.

A handler says how it went by returning, or by raising one of three exceptions of ours or any other. The runner reports
that as one of the `Happened` classes; `decide` makes the ending of it that is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, assert_never

import orjson

from task_contracts import ErrorCode, TaskError, UnstorableJsonError, check_json, limits, storable_text
from task_store import Claim, Ending
from task_worker.backoff import backoff


class Outcome(Exception):  # noqa: N818 # what a handler raises to say how it went, not an error of ours
    """Base of what a handler raises to say how it went."""


class Fail(Outcome):  # as above
    """The task cannot succeed: FAIL it now, whatever attempts are left.

    Args:
        message: a sentence for people; kept with the task.
        code: a stable word to act on, `failed` if left out.

    """

    def __init__(self, message: str, *, code: str = ErrorCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Retry(Outcome):  # as above
    """The attempt failed and another may succeed: RETRY while attempts are left, FAIL otherwise.

    Args:
        message: a sentence for people; kept with the task.
        after_seconds: when to try again; the usual back-off if left out.
        code: a stable word to act on, `retry` if left out.

    """

    def __init__(
        self,
        message: str = "the handler asked for another attempt",
        *,
        after_seconds: float | None = None,
        code: str = ErrorCode.RETRY,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.after_seconds = after_seconds
        self.code = code


class Snooze(Outcome):  # as above
    """It is too early: give the task back and claim it again `after_seconds`. Counts as no failure."""

    def __init__(self, *, after_seconds: float) -> None:
        super().__init__(f"snooze for {after_seconds} s")
        self.after_seconds = after_seconds


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned `value`."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    `is_final`: no other attempt can succeed. `after_seconds`: when the handler wants the next one.
    """

    error: TaskError
    traceback: str | None = None
    is_final: bool = False
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler asked to be run later."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The worker stopped the code, or never began it: a cancel, a lost lease, a drain."""


Happened: TypeAlias = Returned | Failed | Snoozed | Stopped


def decide(claim: Claim, happened: Happened, max_attempts: int) -> Ending:
    """Return how an attempt ends. `max_attempts` is the task's own, the handler's or the setting, in that order."""
    match happened:
        case Returned(value):
            try:
                return Ending.complete(claim, result_text(value))
            except UnstorableJsonError as error:
                return Ending.fail(claim, unstorable(str(error)))
        case Failed(error, traceback, is_final, after_seconds):
            failures = claim.failures + 1
            if is_final or failures >= max_attempts:
                return Ending.fail(claim, error, traceback=traceback)
            after = backoff(failures) if after_seconds is None else _pause(after_seconds)
            return Ending.retry(claim, error, after=after, traceback=traceback)
        case Snoozed(after_seconds):
            return Ending.release(claim, after=_pause(after_seconds))
        case Stopped():
            return Ending.release(claim)
        case _:
            assert_never(happened)


def result_text(value: Any) -> str | None:
    """Return what a handler returned as the JSON that is kept; None for None.

    Raises:
        UnstorableJsonError: it is not JSON that can be kept, or larger than `limits.RESULT_BYTES`.

    """
    if value is None:
        return None
    text = orjson.dumps(check_json(value))
    if len(text) > limits.RESULT_BYTES:
        raise UnstorableJsonError((), f"is larger than {limits.RESULT_BYTES} bytes")
    return text.decode()


def unstorable(reason: str) -> TaskError:
    """Return the error of a task whose result cannot be kept. It is final: a repeat would end the same."""
    message = storable_text(f"the result cannot be stored: {reason}", limits.ERROR_MESSAGE_CHARS)
    return TaskError(code=ErrorCode.UNSTORABLE_RESULT, message=message)


def _pause(seconds: float) -> timedelta:
    """Keep a handler's wish within what may be asked of run_at."""
    longest = limits.RUN_AT_HORIZON_DAYS * 86_400
    return timedelta(seconds=min(max(0.0, seconds), longest))
