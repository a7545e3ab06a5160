"""Request bodies: read up to a limit, JSON only, validated as the bytes that were sent.

FastAPI would parse the JSON first and validate what Python made of it; then strict models refuse dates and enums, and
a lone surrogate or a huge number gets in. Validating the bytes is both right and faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidatorFunctionWrapHandler, WrapValidator
from starlette.requests import Request
from starlette.responses import Response

from task_api.deadlines import DEADLINES
from task_api.problems import body_too_large, body_too_slow, not_json
from task_api.queries import refuse_any
from task_contracts import TaskCreate, limits

_Handle = Callable[[Request], Coroutine[Any, Any, Response]]


def _validator(model: type[BaseModel]) -> WrapValidator:
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return model.model_validate_json(value) if isinstance(value, bytes) else handler(value)

    return WrapValidator(validate)


CreateBody = Annotated[TaskCreate, _validator(TaskCreate)]
"""The body of POST /tasks."""


class BodyRequest(Request):
    """A request whose JSON is its raw bytes, and whose body has a limit and a deadline."""

    max_bytes = limits.BODY_BYTES

    def __init__(self, request: Request, body_seconds: float) -> None:
        super().__init__(request.scope, request.receive)
        self._body_seconds = body_seconds

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            ProblemError: it is too large (noticed before all of it is read), too slow, or not declared as JSON.

        """
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(self._body_seconds):
                    self._body = await self._read()
            except TimeoutError:
                raise body_too_slow(self._body_seconds) from None
            if self._body and not self._is_json():
                raise not_json()
        return self._body

    async def json(self) -> bytes:
        """Return the body as it is, for a validator that reads JSON itself."""
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

    def _is_json(self) -> bool:
        # Another type, or none, is also what a web page of somebody else can send without asking (no CORS preflight).
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


class StrictRoute(APIRoute):
    """A route that reads its body as `BodyRequest` does, and takes no query unless its function does."""

    body_seconds = DEADLINES.body_seconds

    def get_route_handler(self) -> _Handle:
        """Return what answers a request."""
        handle = super().get_route_handler()
        takes_query = bool(self.dependant.query_params)

        async def handle_strictly(request: Request) -> Response:
            if request.scope["query_string"] and not takes_query:
                refuse_any(request)
            return await handle(BodyRequest(request, self.body_seconds))

        return handle_strictly


def strict_route(seconds: float) -> type[StrictRoute]:
    """Return the class of strict routes whose bodies have so long to arrive."""

    class Route(StrictRoute):
        body_seconds = seconds

    return Route
