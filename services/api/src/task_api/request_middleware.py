"""What every request and its answer have: an id, a line in the log, and an answer even where our code fails."""

from __future__ import annotations

import logging
import re
import secrets
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars
from structlog.stdlib import get_logger

from task_api.problems import make_problem, respond
from task_contracts import ProblemCode

_log = get_logger(__name__)

_FAILURE = respond(make_problem(ProblemCode.INTERNAL, "something failed in the server; it is in its log"))
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")
_QUIET = ("/health", "/assets")
"""Asked too often to be told at INFO."""


class RequestMiddleware:
    """Pure ASGI, around everything: Starlette's own base class for middleware would buffer streams, and costs more.

    The id is the caller's `X-Request-ID` where that is sane, and stands on every line logged meanwhile. A line names
    the route, not the path, and nothing that was sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 0
        request_id = _request_id(scope)
        headers = [(b"x-request-id", request_id), (b"x-content-type-options", b"nosniff")]

        async def send_more(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        tokens = bind_contextvars(request_id=request_id.decode())
        try:
            await self._app(scope, receive, send_more)
        except Exception:  # the outermost frame of a request: it logs once, and the next request is answered
            if status:  # too late for an answer: the server logs it, and cuts the connection
                raise
            _log.exception("request_failed")
            await _FAILURE(scope, receive, send_more)
        finally:
            _note(scope, status, perf_counter() - began)
            reset_contextvars(**tokens)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()


def _note(scope: Scope, status: int, seconds: float) -> None:
    """Write the line; a status of 0 is a request that was not answered."""
    route = scope["route"].path if "route" in scope else "unknown"
    level = logging.DEBUG if route.startswith(_QUIET) else logging.INFO
    _log.log(level, "request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
