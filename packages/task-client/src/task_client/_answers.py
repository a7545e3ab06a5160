"""Reads an answer as a model, or as the error that it means. No I/O."""

from __future__ import annotations

from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from task_client._calls import Call
from task_client._errors import (
    ConnectionFailedError,
    NoAnswerError,
    ProblemError,
    RequestTimeoutError,
    TaskClientError,
    UnexpectedAnswerError,
    class_of,
)
from task_contracts import PROBLEM_MEDIA_TYPE, Problem, retry_after_seconds

Model = TypeVar("Model", bound=BaseModel)

_NOTHING_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_BEGINNING_CHARS = 200


def read(response: httpx2.Response, call: Call, model: type[Model]) -> Model:
    """Return the answer as `model`.

    Raises:
        ProblemError: the service refused.
        UnexpectedAnswerError: the answer does not come from the service.

    """
    is_answer = response.is_success or response.status_code in call.answers
    try:
        if is_answer and _media_type(response) == "application/json":
            return model.model_validate_json(response.content)
        if not is_answer and _media_type(response) == PROBLEM_MEDIA_TYPE:
            raise _problem(response, call)
    except ValidationError as error:
        raise _unexpected(response, call) from error
    raise _unexpected(response, call)


def no_answer(error: httpx2.RequestError, call: Call) -> TaskClientError:
    """Return the error for a failure of the HTTP library, with whether the call may be repeated."""
    reason = f"{call.method} {call.path}: {str(error) or type(error).__name__}"
    if isinstance(error, httpx2.DecodingError):
        return UnexpectedAnswerError(None, reason, None, call.is_repeat_safe)
    kind: type[NoAnswerError] = ConnectionFailedError
    if isinstance(error, httpx2.TimeoutException):
        kind, reason = RequestTimeoutError, f"{reason}: no answer in time"
    return kind(reason, call.is_repeat_safe or isinstance(error, _NOTHING_SENT))


def _problem(response: httpx2.Response, call: Call) -> ProblemError:
    problem = Problem.model_validate_json(response.content)
    is_repeat_safe = problem.status < 500 or call.is_repeat_safe  # below 500, nothing was done
    return class_of(problem)(problem, _retry_after(response), is_repeat_safe)


def _unexpected(response: httpx2.Response, call: Call) -> UnexpectedAnswerError:
    # Not `response.text`: of a long Content-Type, Python takes quadratic time to find the charset.
    beginning = response.content[: 4 * _BEGINNING_CHARS].decode(errors="replace")[:_BEGINNING_CHARS]
    return UnexpectedAnswerError(response.status_code, beginning, _retry_after(response), call.is_repeat_safe)


def _media_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _retry_after(response: httpx2.Response) -> float | None:
    return retry_after_seconds(response.headers.get("retry-after", ""))
