"""Serves `/metrics`, from a thread and an event loop of its own.

**Invariants**

- It answers while the process's event loop is blocked: that is when somebody looks.
- A connection has `CONNECTION_SECONDS` for everything, one request, and then it is closed. There are never more than
  `CONNECTIONS_MAX`, and none may send more than `HEAD_BYTES`.
- Nothing that arrives here reaches the log, or the process.
- Where keys are wanted, nothing is shown to whoever has none with the scope `metrics`. They are looked up on this
  thread, over a connection of its own: a blocked event loop keeps nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from task_contracts import Scope
from task_runtime.metrics.keys import OpenKeys, ScopesOf

CONNECTION_SECONDS = 5.0
CONNECTIONS_MAX = 32
HEAD_BYTES = 16 << 10
_CLOSE_SECONDS = 2.0
_MORE_HEADERS = {
    HTTPStatus.METHOD_NOT_ALLOWED: ("Allow: GET, HEAD",),
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate: Bearer",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After: 2",),
}
_OPEN_METRICS = "application/openmetrics-text"
_TEXT = "text/plain; charset=utf-8"


class MetricsServer:
    """Serves from when it is made until `close`, which closes the socket too.

    Args:
        listener: a socket that listens.
        registry: what is shown.
        open_keys: opens what knows keys; None where nobody needs one.

    """

    def __init__(self, listener: socket.socket, registry: CollectorRegistry, open_keys: OpenKeys | None = None) -> None:
        self._listener = listener
        self._registry = registry
        self._open_keys = open_keys
        self._scopes_of: ScopesOf | None = None
        self._loop = asyncio.new_event_loop()
        self._is_closing = asyncio.Event()
        self._connections = 0
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, within two seconds. Repeats are harmless."""
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._is_closing.set)
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if self._open_keys is not None:
                self._scopes_of = await stack.enter_async_context(self._open_keys())
            async with await asyncio.start_server(self._connected, sock=self._listener, limit=HEAD_BYTES):
                await self._is_closing.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(CONNECTION_SECONDS):
                        writer.write(await self._answer(reader))
                        await writer.drain()
                        writer.close()
                        await writer.wait_closed()
        finally:
            self._connections -= 1
            writer.transport.abort()  # nothing where it is closed

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError:
            return b""
        request, *lines = head.split("\r\n")
        match request.split(" "):
            case [("GET" | "HEAD") as method, target, version] if version.startswith("HTTP/1."):
                if target.partition("?")[0] != "/metrics":
                    return _response(HTTPStatus.NOT_FOUND, is_head=method == "HEAD")
                if (refusal := await self._refusal(lines)) is not None:
                    return _response(refusal, is_head=method == "HEAD")
                encode, content_type = choose_encoder(_accepted(lines))
                body = encode(self._registry)
                return _response(HTTPStatus.OK, body, content_type, is_head=method == "HEAD")
            case [_, _, version] if version.startswith("HTTP/1."):
                return _response(HTTPStatus.METHOD_NOT_ALLOWED)
            case _:
                return _response(HTTPStatus.BAD_REQUEST)

    async def _refusal(self, lines: list[str]) -> HTTPStatus | None:
        """Return the status of the answer to a caller who may not read the page; None for one who may."""
        if self._scopes_of is None:
            return None
        text = _bearer(lines)
        if text is None:
            return HTTPStatus.UNAUTHORIZED
        try:
            scopes = await self._scopes_of(text)
        except Exception:  # noqa: BLE001 # whatever it is that nobody can be asked: the process logs its own trouble
            return HTTPStatus.SERVICE_UNAVAILABLE
        if not scopes:
            return HTTPStatus.UNAUTHORIZED
        return None if Scope.METRICS in scopes else HTTPStatus.FORBIDDEN


def _bearer(lines: list[str]) -> bytes | None:
    """Return the text of the key that a request has, or None."""
    for line in lines:
        name, _, value = line.partition(":")
        kind, _, text = value.strip().partition(" ")
        if name.lower() == "authorization":
            return text.strip().encode("latin-1") if kind.lower() == "bearer" else None
    return None


def _accepted(lines: list[str]) -> str:
    """Return the format that is asked for, in our own words: the library copies what it reads into its answer."""
    is_open = any(line.lower().startswith("accept:") and _OPEN_METRICS in line.lower() for line in lines)
    return f"{_OPEN_METRICS}; version=1.0.0" if is_open else ""


def _response(
    status: HTTPStatus, body: bytes | None = None, content_type: str = _TEXT, *, is_head: bool = False
) -> bytes:
    body = f"{status.phrase}\n".encode() if body is None else body
    head = [
        f"HTTP/1.1 {status} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *_MORE_HEADERS.get(status, ()),
    ]
    return "\r\n".join([*head, "", ""]).encode() + (b"" if is_head else body)
