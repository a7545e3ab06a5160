"""Turns exceptions into problem documents. One that has no handler here becomes a 500 (`request_middleware`)."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from task_api.fields import field_problems
from task_api.problems import (
    ProblemError,
    answer,
    idempotency_mismatch,
    invalid,
    key_expired,
    make_problem,
    respond,
    unavailable,
)
from task_contracts import FieldProblem, ProblemCode
from task_runtime import get_logger
from task_store import (
    ContentionError,
    DatabaseUnavailableError,
    KeyExpiredError,
    KeyMismatchError,
    SchemaMismatchError,
    StoreError,
    UnstorableValuesError,
)

_log = get_logger(__name__)

_ROUTING = {
    404: (ProblemCode.NOT_FOUND, "there is nothing at this path"),
    405: (ProblemCode.METHOD_NOT_ALLOWED, "this path does not take this method; Allow names those that it takes"),
}
_UNREADABLE = (ProblemCode.VALIDATION, "the request could not be read")


def translate_exceptions(app: FastAPI) -> None:
    """Add the handlers of exceptions to `app`. All are coroutines: Starlette would run a plain function in a thread."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(UnstorableValuesError, _on_unstorable)
    for kind in (ContentionError, DatabaseUnavailableError, SchemaMismatchError, TimeoutError):
        app.add_exception_handler(kind, _on_unavailable)
    app.add_exception_handler(KeyMismatchError, _on_mismatch)
    app.add_exception_handler(KeyExpiredError, _on_expired)
    app.add_exception_handler(StoreError, _on_unforeseen)


async def _on_invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101 # Starlette looks handlers up by class
    errors = error.errors()
    return answer(invalid(field_problems(errors), len(errors)))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 # as above
    if isinstance(error, ProblemError):
        return answer(error)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed_methods(request)
    code, detail = _ROUTING.get(error.status_code, _UNREADABLE)
    return respond(make_problem(code, detail, status=error.status_code), headers)


async def _on_unstorable(request: Request, error: Exception) -> Response:
    # task_contracts should have refused these values: an error in the log, for somebody to close that gap. The caller
    # gets a 422, since other values are all that helps.
    del request
    assert isinstance(error, UnstorableValuesError)  # noqa: S101 # as above
    _log.error("task_values_refused", sqlstate=error.sqlstate, constraint=error.constraint)
    return answer(invalid([FieldProblem(field="body", message="cannot be stored")]))


async def _on_mismatch(request: Request, error: Exception) -> Response:
    del request, error
    return answer(idempotency_mismatch())


async def _on_expired(request: Request, error: Exception) -> Response:
    del request, error
    return answer(key_expired())


async def _on_unavailable(request: Request, error: Exception) -> Response:
    del request
    _log.warning("request_without_database", reason=str(error) or type(error).__name__)
    return answer(unavailable())


async def _on_unforeseen(request: Request, error: Exception) -> Response:
    # An error in the log, for somebody to look. The caller gets a 503: whatever the database says that nobody knows, it
    # may say no more a moment later.
    del request
    assert isinstance(error, StoreError)  # noqa: S101 # as above
    _log.error("database_error_unforeseen", sqlstate=error.sqlstate, exc_info=error)
    return answer(unavailable())


def _allowed_methods(request: Request) -> str:
    # The router's own header names the methods of one route, and a path may have several. Not those of a later pattern
    # that matches too: `/tasks/batch` is no task.
    app: FastAPI = request.app
    path = request.scope["path"]
    matching = [route for route in app.routes if isinstance(route, APIRoute) and route.path_regex.match(path)]
    first = matching[0].path
    return ", ".join(sorted({method for route in matching if route.path == first for method in route.methods or ()}))
