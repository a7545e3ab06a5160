"""The outcomes of running a handler: it returned, failed, snoozed, was stopped or could not be begun. Pure.

A runner reports one of these; `task_worker.attempt.ending` decides what is recorded.

The child process of a handler imports this module, so it does not import the store: that would double the child's
start time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import ValidationError

from task_contracts import ErrorCode, FailureKind, TaskError, limits, storable_text
from task_runtime import safe_text
from task_worker.attempt.origin import NO_ORIGIN, Origin


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned. `result` is its value as the JSON to store; None if it returned None."""

    result: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    `is_final`: no other attempt can succeed. `after_seconds`: when the handler wants the next one. `origin`: where its
    exception comes from, if there was one.
    """

    error: TaskError
    traceback: str | None = None
    is_final: bool = False
    after_seconds: float | None = None
    origin: Origin = NO_ORIGIN

    def kind(self, type_: str) -> FailureKind:
        """Return what it has in common with other failures of a task type; without an exception its code tells."""
        return FailureKind(type_, self.origin.exception or self.error.code, self.origin.frame)


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler asked to be run again after `after_seconds`."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The worker stopped the code, or never began it: a cancel, a lost lease, a drain."""


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The worker has no thread or process for the code: out of files, pids or memory. The handler did not fail."""

    reason: str


HandlerOutcome: TypeAlias = Returned | Failed | Snoozed | Stopped | NotBegun


def error_message(text: str) -> str:
    """Return the text of an error as the API shows it: storable, short, and without what logs leave out as well.

    It is empty where nothing else was in it.
    """
    return storable_text(safe_text(text, limits.ERROR_MESSAGE_CHARS), limits.ERROR_MESSAGE_CHARS)


def invalid_payload(error: ValidationError) -> Failed:
    """Return the failure of a task whose payload does not fit its handler. It is final.

    The text of a validator's exception is the user's code, which may raise anything.
    """
    if error.error_count() > limits.FIELD_ERRORS_MAX:
        return _invalid_payload(f"the payload does not fit: it has {error.error_count()} errors")
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "payload"
    reason = first["msg"].removeprefix("Value error, ")
    return _invalid_payload(f"the payload does not fit: {field}: {reason}")


def unreadable_json(reason: str) -> Failed:
    """Return the final failure of a task of which other hands have stored something that cannot be read."""
    return _invalid_payload(reason)


def _invalid_payload(text: str) -> Failed:
    return Failed(TaskError(code=ErrorCode.INVALID_PAYLOAD, message=error_message(text)), is_final=True)
