"""Turns the exception that a handler raised, or that kept it from beginning, into an outcome, for every runner."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os

from task_contracts import ErrorCode, TaskError, limits, storable_text
from task_runtime import safe_traceback
from task_worker.attempt.origin import origin_of
from task_worker.attempt.outcome import (
    Failed,
    HandlerOutcome,
    NotBegun,
    Snoozed,
    error_message,
    invalid_payload,
)
from task_worker.exceptions import Fail, Retry, Snooze
from task_worker.handlers import InvalidPayloadError

_OUT_OF = (
    *map(os.strerror, (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)),
    "can't start new thread",
    "failed to map segment",  # of a library: no memory
)
"""What the text of an error says where files, memory or pids have run out."""
_CAUSES_MAX = 20


def not_begun_by(error: BaseException) -> NotBegun | None:
    """Return the outcome of an attempt that `error` kept from beginning, if files, pids or memory have run out.

    Else None: then it is an error of the handlers. What caused the error counts as well. Never raises itself.
    """
    with contextlib.suppress(BaseException):  # as below
        cause: BaseException | None = error
        for _ in range(_CAUSES_MAX):
            if cause is None:
                break
            is_systems = isinstance(cause, OSError | ImportError | RuntimeError)
            if isinstance(cause, MemoryError) or (is_systems and any(text in str(cause) for text in _OUT_OF)):
                return NotBegun(f"no process: {str(cause) or type(cause).__name__}")
            cause = _cause_of(cause)
    return None


def outcome_of_exception(error: BaseException) -> HandlerOutcome:
    """Return the outcome of an attempt whose handler raised `error`. Never raises itself."""
    with contextlib.suppress(BaseException):  # the `str` of a user's exception may raise anything
        return _outcome_of(error)
    with contextlib.suppress(BaseException):  # so may the properties of its class
        shown = _error(ErrorCode.HANDLER_ERROR, type(error).__name__, error)
        return Failed(shown, _traceback(error), origin=origin_of(error))
    unshown = TaskError(code=ErrorCode.HANDLER_ERROR, message="an exception that cannot be shown")
    return Failed(unshown, origin=origin_of(error))


def pass_on_cancel(error: BaseException) -> None:
    """Raise `error` if it cancels the current asyncio task, as the end of the event loop does.

    Code of users can raise a CancelledError of its own: then this does nothing.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _outcome_of(error: BaseException) -> HandlerOutcome:
    match error:
        case InvalidPayloadError():
            return invalid_payload(error.reason)
        case Snooze():
            return Snoozed(float(error.after_seconds))  # code may have set anything
        case Retry():
            after_seconds = None if error.after_seconds is None else float(error.after_seconds)
            shown = _error(error.code, error.message, error)
            return Failed(shown, _traceback_of_cause(error), after_seconds=after_seconds, origin=origin_of(error))
        case Fail():
            shown = _error(error.code, error.message, error)
            return Failed(shown, _traceback_of_cause(error), is_final=True, origin=origin_of(error))
        case _:
            shown = _error(ErrorCode.HANDLER_ERROR, str(error), error)
            return Failed(shown, _traceback(error), origin=origin_of(error))


def _cause_of(error: BaseException) -> BaseException | None:
    """Return what `error` was raised from, or while handling what, unless it was raised `from None`."""
    if error.__cause__ is not None:  # not by its truth: a user's class may have a `__bool__`
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _traceback_of_cause(error: Fail | Retry) -> str | None:
    """Return the traceback where the handler says so because of another exception; its own word needs none."""
    return None if _cause_of(error) is None else _traceback(error)


def _error(code: str, message: str, error: BaseException) -> TaskError:
    return TaskError(
        code=storable_text(code, limits.TYPE_CHARS),
        message=error_message(message) or error_message(type(error).__name__),
        type=storable_text(type(error).__qualname__, limits.NAME_CHARS),
    )


def _traceback(error: BaseException) -> str:
    """Return the last 16 KiB of the traceback: the place of the error is at its end."""
    text = storable_text(safe_traceback(error), 10 * limits.TRACEBACK_BYTES)
    return text.encode()[-limits.TRACEBACK_BYTES :].decode(errors="ignore")
