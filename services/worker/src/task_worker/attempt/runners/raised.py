"""Turns the exception that a handler raised into an outcome, the same way for every runner."""

from __future__ import annotations

from task_contracts import ErrorCode, TaskError, limits, storable_text
from task_runtime import safe_traceback
from task_worker.attempt.outcome import Failed, HandlerOutcome, Snoozed
from task_worker.exceptions import Fail, Retry, Snooze


def outcome_of_exception(error: BaseException) -> HandlerOutcome:
    """Return the outcome of an attempt whose handler raised `error`. Never raises itself."""
    try:
        return _outcome_of(error)
    except Exception:  # noqa: BLE001 # the `str` of a user's exception may raise
        return Failed(_error(ErrorCode.HANDLER_ERROR, type(error).__name__, error))


def _outcome_of(error: BaseException) -> HandlerOutcome:
    match error:
        case Snooze():
            return Snoozed(error.after_seconds)
        case Retry():
            return Failed(_error(error.code, error.message, error), after_seconds=error.after_seconds)
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
