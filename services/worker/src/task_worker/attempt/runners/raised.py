"""Turns the exception that a handler raised into an outcome, the same way for every runner."""

from __future__ import annotations

import asyncio
import contextlib

from task_contracts import ErrorCode, TaskError, limits, storable_text
from task_runtime import safe_traceback
from task_worker.attempt.outcome import Failed, HandlerOutcome, Snoozed, invalid_payload
from task_worker.exceptions import Fail, Retry, Snooze
from task_worker.handlers import InvalidPayloadError


def outcome_of_exception(error: BaseException) -> HandlerOutcome:
    """Return the outcome of an attempt whose handler raised `error`. Never raises itself."""
    with contextlib.suppress(BaseException):  # the `str` of a user's exception may raise anything
        return _outcome_of(error)
    with contextlib.suppress(BaseException):  # so may the properties of its class
        return Failed(_error(ErrorCode.HANDLER_ERROR, type(error).__name__, error))
    return Failed(TaskError(code=ErrorCode.HANDLER_ERROR, message="an exception that cannot be shown"))


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
            return Failed(_error(error.code, error.message, error), after_seconds=after_seconds)
        case Fail():
            return Failed(_error(error.code, error.message, error), is_final=True)
        case _:
            return Failed(_error(ErrorCode.HANDLER_ERROR, str(error) or type(error).__name__, error), _traceback(error))


def _error(code: str, message: str, error: BaseException) -> TaskError:
    return TaskError(
        code=storable_text(code, limits.TYPE_CHARS),
        message=storable_text(message, limits.ERROR_MESSAGE_CHARS),
        type=storable_text(type(error).__qualname__, limits.NAME_CHARS),
    )


def _traceback(error: BaseException) -> str:
    """Return the last 16 KiB of the traceback: the place of the error is at its end."""
    text = storable_text(safe_traceback(error), 10 * limits.TRACEBACK_BYTES)
    return text.encode()[-limits.TRACEBACK_BYTES :].decode(errors="ignore")
