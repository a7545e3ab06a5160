"""Turns the value that a handler returned into an outcome.

It runs where the handler ran, so the child process of a handler imports this module, which therefore does not import
the store.
"""

from __future__ import annotations

from task_contracts import ErrorCode, TaskError, UnstorableJsonError, limits
from task_worker.attempt.outcome import Failed, Returned, error_message
from task_worker.json_text import json_text


def outcome_of_value(value: object) -> Returned | Failed:
    """Return the outcome of an attempt whose handler returned `value`.

    It is a final failure if the value cannot be stored: another attempt would end the same. Never raises itself,
    whatever the code of the value's classes does.
    """
    try:
        return Returned(result_text(value))
    except UnstorableJsonError as error:
        return Failed(unstorable(str(error)), is_final=True)


def unstorable(reason: str) -> TaskError:
    """Return the error of a task whose result cannot be stored."""
    message = error_message(f"the result cannot be stored: {reason}")
    return TaskError(code=ErrorCode.UNSTORABLE_RESULT, message=message)


def result_text(value: object) -> str | None:
    """Return a handler's value as the JSON to store; None for None. Errors as for `json_text`."""
    return json_text(value, limits.RESULT_BYTES)
