"""The middleware around every request: gives it an id, logs it, and answers where the code fails or is cancelled."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from task_api.access.callers import caller_of, put_request_id
from task_api.problems import INTERNAL, answer, answered_with, respond, unavailable
from task_runtime import get_logger

_log = get_logger(__name__)

_FAILURE = respond(INTERNAL)
_STOPPING = answer(unavailable("the server stops; try again later"))
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9]{1,15})?")
_SAFETY = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")
"""Of an answer that has no policy of its own, as the pages of the documentation have."""
_QUIET = ("/health", "/assets")
"""Routes that are asked so often that their requests are logged at DEBUG only."""
_FIELDS_MAX = 3


class RequestMiddleware:
    """Gives each request an id, logs one line for it, and answers 500 where the application raises an exception.

    It answers 503 where the server, which stops, cancels the request: nothing stands above it that should know.

    The id is the caller's `X-Request-ID` if that has 1 to 64 harmless characters, else a random one. It stands on every
    line that is logged during the request. The line of a request names its route, not its path, and the address of the
    caller, and of a key its id and its owner; of an error its code, and up to three fields that are wrong. It has no
    value that was sent. Every answer keeps browsers from guessing its type, framing it and telling others where it was.

    It is pure ASGI: Starlette's BaseHTTPMiddleware buffers streams, and costs more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on to the application, and send its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 0
        request_id = _request_id(scope)
        put_request_id(scope, request_id.decode())
        headers = [(b"x-request-id", request_id), *_SAFETY]

        async def send_more(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message["headers"]
                policy = [] if any(name == b"content-security-policy" for name, _ in given) else [_POLICY]
                message["headers"] = [*given, *headers, *policy]
            await send(message)

        tokens = bind_contextvars(request_id=request_id.decode())
        try:
            await self._app(scope, receive, send_more)
        except asyncio.CancelledError:  # the server stops; for a request that is cancelled, uvicorn logs a traceback
            if not status:
                await _STOPPING(scope, receive, send_more)
        except Exception:  # the outermost frame of a request: it logs once, and the server goes on
            if status:  # an answer has begun: uvicorn logs the error, and closes the connection
                raise
            _log.exception("request_failed")
            await _FAILURE(scope, receive, send_more)
        finally:
            _log_request(scope, status, perf_counter() - began)
            reset_contextvars(**tokens)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    """Log one line for the request; a status of 0 means that it was not answered."""
    route = scope["route"].path if "route" in scope else "unknown"
    level = logging.DEBUG if route.startswith(_QUIET) else logging.INFO
    fields = {"method": scope["method"], "route": route, "status": status, "client": _client(scope)}
    caller = caller_of(scope)
    who = {} if caller.key_id is None else {"key": caller.key_id, "owner": caller.owner}
    _log.log(level, "request", **fields, **who, **_cause(scope), ms=round(seconds * 1000, 1))


def _cause(scope: Scope) -> dict[str, object]:
    """Return what is logged of the problem that was answered; nothing where there was none."""
    problem = answered_with(scope)
    if problem is None:
        return {}
    names = [*dict.fromkeys(error.field for error in problem.errors)][:_FIELDS_MAX]
    return {"code": problem.code, **({"fields": names} if names else {})}


def _client(scope: Scope) -> str:
    """Return the address of the caller; a trusted proxy may have said something else than one."""
    host = (scope.get("client") or ("",))[0]
    return host if _ADDRESS.fullmatch(host) else "unknown"
