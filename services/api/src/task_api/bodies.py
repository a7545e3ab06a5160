"""Reads request bodies: JSON only, up to a size, within a time; pydantic validates the bytes that were sent.

FastAPI would parse the JSON first and validate the Python objects. Strict models would then refuse dates and enums,
and a lone surrogate or a huge number would pass. Validating the bytes is correct, and faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from starlette.requests import Request
from starlette.responses import Response

from task_api.bulk_body import BulkBody
from task_api.deadlines import DEADLINES
from task_api.direct_calls import DirectCall
from task_api.filters import EventFilter
from task_api.problems import body_too_large, body_too_slow, encoded, not_json, too_many_errors
from task_api.queries import refuse_any
from task_contracts import ApiKeyCreate, PauseCreate, TaskCreate, TaskUpdate, limits

_Handle = Callable[[Request], Coroutine[Any, Any, Response]]


def _validator(model: type[BaseModel]) -> WrapValidator:
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, bytes):
            return handler(value)
        try:
            return model.model_validate_json(value)
        except ValidationError as error:
            if error.error_count() > limits.FIELD_ERRORS_MAX:
                raise too_many_errors(error.error_count()) from None
            raise

    return WrapValidator(validate)


CreateBody = Annotated[TaskCreate, _validator(TaskCreate)]
"""The body of POST /tasks."""
UpdateBody = Annotated[TaskUpdate, _validator(TaskUpdate)]
"""The body of PATCH /tasks/{task_id}."""
ManyBody = Annotated[BulkBody, _validator(BulkBody)]
"""The body of the calls that change many tasks."""
EventBody = Annotated[EventFilter, _validator(EventFilter)]
"""The body of POST /events."""

PauseBody = Annotated[PauseCreate, _validator(PauseCreate)]
"""The body of POST /pauses."""
KeyBody = Annotated[ApiKeyCreate, _validator(ApiKeyCreate)]
"""The body of POST /keys."""


class BodyRequest(Request):
    """A request that returns its raw bytes as its JSON. Its body may have `max_bytes` and must arrive in time."""

    def __init__(self, request: Request, body_seconds: float, max_bytes: int) -> None:
        super().__init__(request.scope, request.receive)
        self._body_seconds = body_seconds
        self.max_bytes = max_bytes

    async def body(self) -> bytes:
        """Return the whole body; empty if none was sent.

        Raises:
            ProblemError: 413 if it is too large (before all of it is read), 408 if it does not arrive in time, 415 if
                it is not declared as JSON, or was sent in an encoding.

        """
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(self._body_seconds):
                    self._body = await self._read()
            except TimeoutError:
                raise body_too_slow(self._body_seconds) from None
            if self._body and self._is_encoded():
                raise encoded()
            if self._body and not self._is_json():
                raise not_json()
        return self._body

    async def json(self) -> bytes:
        """Return the raw bytes of the body: the validator of the model parses them."""
        return await self.body()

    async def _read(self) -> bytes:
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise body_too_large(self.max_bytes)
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > self.max_bytes:
                raise body_too_large(self.max_bytes)
        return bytes(body)

    def _is_encoded(self) -> bool:
        return any(value.strip().lower() not in ("", "identity") for value in self.headers.getlist("content-encoding"))

    def _is_json(self) -> bool:
        # Other types, or none, are refused: a page of another site can send those without a CORS preflight.
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


class StrictRoute(APIRoute):
    """A route that reads its body as a `BodyRequest`, and refuses a query if its function takes no parameter of one."""

    body_seconds = DEADLINES.body_seconds
    max_bytes = limits.BODY_BYTES

    def get_route_handler(self) -> _Handle:
        """Return the coroutine function that answers a request."""
        handle = super().get_route_handler()
        takes_query = bool(self.dependant.query_params)
        direct, call = DirectCall.of(self), self.endpoint

        async def handle_strictly(request: Request) -> Response:
            if request.scope["query_string"] and not takes_query:
                refuse_any(request)
            request = BodyRequest(request, self.body_seconds, self.max_bytes)
            arguments = None if direct is None else await direct.arguments(request)
            if arguments is None:
                return await handle(request)
            response: Response = await call(**arguments)
            return response

        return handle_strictly


def strict_route(seconds: float, most_bytes: int = limits.BODY_BYTES) -> type[StrictRoute]:
    """Return a class of strict routes: their bodies have so many bytes at most and must arrive within `seconds`."""

    class Route(StrictRoute):
        body_seconds = seconds
        max_bytes = most_bytes

    return Route
