"""What can come of running a handler. Pure.

A handler says how it went by returning, or by raising one of three exceptions of ours or any other. The runner reports
that as one of the `HandlerOutcome` classes, of which `task_worker.attempt.ending` makes the ending that is recorded.

A handler's own process imports this, so nothing here imports the store: that would double the time of its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from pydantic import BaseModel

from task_contracts import ErrorCode, TaskError, UnstorableJsonError, check_json, limits, storable_text


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
        self.message = str(message)
        self.code = str(code)


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
        self.message = str(message)
        self.after_seconds = None if after_seconds is None else float(after_seconds)
        self.code = str(code)


class Snooze(Outcome):  # as above
    """It is too early: give the task back and claim it again `after_seconds`. Counts as no failure."""

    def __init__(self, *, after_seconds: float) -> None:
        super().__init__(f"snooze for {after_seconds} s")
        self.after_seconds = float(after_seconds)


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


HandlerOutcome: TypeAlias = Returned | Failed | Snoozed | Stopped


def result_text(value: Any) -> str | None:
    """Return what a handler returned as the JSON that is kept; None for None. A pydantic model is dumped.

    Raises:
        UnstorableJsonError: it is not JSON that can be kept, or larger than `limits.RESULT_BYTES`.

    """
    if value is None:
        return None
    try:
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        text = orjson.dumps(check_json(plain))
    except UnstorableJsonError:
        raise
    except Exception as error:  # code of the user's runs here: a model's fields, a mapping's items
        raise UnstorableJsonError((), f"is not JSON: {type(error).__name__}: {error}") from error
    if len(text) > limits.RESULT_BYTES:
        raise UnstorableJsonError((), f"is larger than {limits.RESULT_BYTES} bytes")
    return text.decode()


def unstorable(reason: str) -> TaskError:
    """Return the error of a task whose result cannot be kept. It is final: a repeat would end the same."""
    message = storable_text(f"the result cannot be stored: {reason}", limits.ERROR_MESSAGE_CHARS)
    return TaskError(code=ErrorCode.UNSTORABLE_RESULT, message=message)
