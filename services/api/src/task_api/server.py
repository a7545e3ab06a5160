"""Serves an application over HTTP until it is told to stop. uvicorn does the work; signals and sockets stay ours.

Stopping: `stop` is set; readiness says so (`ApiParts.stop`); no connection is taken any more, and those that are open
close after the answer they are waiting for; what is not answered within `GRACE_SECONDS`, or when `hurry` is set, is
cancelled.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp
from structlog.stdlib import get_logger
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from task_api.problems import make_problem
from task_contracts import PROBLEM_MEDIA_TYPE, ProblemCode
from task_runtime import Misconfigured

_log = get_logger(__name__)

GRACE_SECONDS = 10
"""Above the deadline of a request."""

KEEP_ALIVE_SECONDS = 75
"""Above what clients keep an idle connection for: the side that closes first must be theirs, or they meet a reset."""


@dataclass(frozen=True)
class Listener:
    """An address that is ours from now on; `serve` closes it. Whoever connects before it serves waits for that."""

    socket: socket.socket
    url: str


def listen(host: str, port: int) -> Listener:
    """Take an address; port 0 takes a free port.

    Raises:
        Misconfigured: it is in use, or not an address of this machine.

    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise Misconfigured(_cannot_listen(host, port, error)) from error
    shown = f"[{host}]" if ":" in host else host
    return Listener(bound, f"http://{shown}:{bound.getsockname()[1]}")


async def serve(app: ASGIApp, listener: Listener, stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Serve `app` until `stop` is set and what was asked before has been answered; `hurry` ends that waiting."""
    server = _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        listener.url,
    )
    stopper = asyncio.create_task(server.exit_after(stop, hurry))
    try:
        await server.serve(sockets=[listener.socket])
    finally:
        stopper.cancel()


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to `task_runtime.ShutdownSignals`."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: uvicorn would raise them again after it has stopped, and end the process by them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets=sockets)
        _log.info("listening", url=self._url)

    async def exit_after(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Have the server stop when `stop` is set, and wait for nothing any more when `hurry` is."""
        await stop.wait()
        self.should_exit = True
        await hurry.wait()
        self.force_exit = True
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # on Python 3.12 and later the listening socket waits for them


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which answers what is not HTTP with a problem document too."""

    def send_400_response(self, msg: str) -> None:
        """Answer, and close the connection."""
        body = make_problem(ProblemCode.VALIDATION, "this is not a valid HTTP request", status=400).model_dump_json()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n{body}".encode())
        self.transport.close()


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"TASK_API_PORT: port {port} of {host} is in use; stop what uses it, or choose another"
    if error.errno == errno.EACCES:
        return f"TASK_API_PORT: port {port} is for privileged users only; choose one above 1023"
    return f"TASK_API_HOST: cannot listen on {host} ({error.strerror or error})"
