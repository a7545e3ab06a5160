"""Reads an answer as a model, or as the error that it means. No I/O."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from task_client._call import Call
from task_client._errors import (
    ConnectionFailedError,
    ProblemError,
    RequestTimeoutError,
    TaskClientError,
    UnexpectedAnswerError,
    class_of,
)
from task_contracts import PROBLEM_MEDIA_TYPE, Problem, retry_after_seconds

Model = TypeVar("Model", bound=BaseModel)
Error = TypeVar("Error", bound=TaskClientError)

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
        if response.status_code == HTTPStatus.NO_CONTENT:
            return model.model_validate({})
        if is_answer and _media_type(response) == "application/json":
            return model.model_validate_json(response.content)
        if not is_answer and _media_type(response) == PROBLEM_MEDIA_TYPE:
            raise _problem(response, call)
    except ValidationError as error:
        raise _unexpected(response, call) from error
    raise _unexpected(response, call)


def no_answer(error: httpx2.RequestError, call: Call) -> TaskClientError:
    """Return the error for a failure of the HTTP library, with whether the call may be repeated."""
    if isinstance(error, httpx2.DecodingError):
        return _about(UnexpectedAnswerError(None, _cause(error), None, call.is_repeat_safe), call, error)
    is_repeat_safe = call.is_repeat_safe or isinstance(error, _NOTHING_SENT)
    if isinstance(error, httpx2.TimeoutException):
        reason = f"no answer in time ({type(error).__name__})"
        return _about(RequestTimeoutError(reason, is_repeat_safe), call, error)
    return _about(ConnectionFailedError(_cause(error), is_repeat_safe), call, error)


def _problem(response: httpx2.Response, call: Call) -> ProblemError:
    problem = Problem.model_validate_json(response.content)
    is_repeat_safe = problem.status < 500 or call.is_repeat_safe  # below 500, nothing was done
    error = class_of(problem)(problem, _retry_after(response), is_repeat_safe)
    return _about(error, call, response)


def _unexpected(response: httpx2.Response, call: Call) -> UnexpectedAnswerError:
    # Not `response.text`: of a long Content-Type, Python takes quadratic time to find the charset.
    beginning = response.content[: 4 * _BEGINNING_CHARS].decode(errors="replace")[:_BEGINNING_CHARS]
    error = UnexpectedAnswerError(response.status_code, beginning, _retry_after(response), call.is_repeat_safe)
    return _about(error, call, response)


def _about(error: Error, call: Call, source: httpx2.Response | httpx2.RequestError) -> Error:
    """Say in an error what was called, and with which key."""
    try:
        url = str(source.request.url.copy_with(userinfo=b"", query=None))
    except RuntimeError:  # it was not made by a client
        url = call.path
    error.request, error.key = f"{call.method} {url}", call.key
    return error


def _cause(error: BaseException) -> str:
    """Return what went wrong in the operating system's words, if it was there; httpx2 says little of it."""
    deepest: BaseException | None = error
    said = str(error)
    while deepest is not None:
        if isinstance(deepest, ConnectionError) and deepest.errno:
            said = os.strerror(deepest.errno)  # asyncio's own text does not say that it was refused
        elif isinstance(deepest, OSError):
            said = str(deepest) or said
        deepest = deepest.__cause__ or deepest.__context__
    return said or type(error).__name__


def _media_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _retry_after(response: httpx2.Response) -> float | None:
    return retry_after_seconds(response.headers.get("retry-after", ""))
