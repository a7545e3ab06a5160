"""Serves an application over HTTP until an event is set.

uvicorn does the work, but handles no signal and binds no socket: the process does.

Once `stop` is set, readiness answers `stopping` (`ApiParts.stop`), no new connection is accepted, and each open one
closes after its answer. What is not answered within `GRACE_SECONDS`, or when `hurry` is set, is cancelled: its caller
gets a 503, if it can still be reached.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import uvicorn
from starlette.types import ASGIApp

from task_api.bounded_protocol import BoundedProtocol
from task_api.connections import ConnectionBounds, Connections
from task_runtime import Misconfigured, get_logger

_log = get_logger(__name__)

GRACE_SECONDS = 10
"""How long open requests may take once the server stops; more than the deadline of a request."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept, which is longer than clients keep theirs.

The client must be the one that closes: where the server closes while a request is on its way, the client sees a reset.
"""


_LAST_ANSWERS_SECONDS = 2.0
_LAST_READ_SECONDS = 2.0
"""How long a caller may read nothing of its answer once the server stops."""


@dataclass(frozen=True)
class Listener:
    """A socket that listens, and its URL. `serve` closes it. A client that connects before waits for `serve`."""

    socket: socket.socket
    url: str


def listen(host: str, port: int) -> Listener:
    """Listen on an address; port 0 takes a free port.

    Raises:
        Misconfigured: the port is in use or for privileged users, or it is not an address of this machine.

    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.create_server(address[:2], family=family)
        # uvicorn writes head and body apart. asyncio sees to this only where a socket names its protocol; this one
        # does not, and a client that delays its acknowledgements then has the body 40 ms after the head.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    except OSError as error:
        raise Misconfigured(_cannot_listen(host, port, error)) from error
    shown = f"[{host}]" if ":" in host else host
    return Listener(bound, f"http://{shown}:{bound.getsockname()[1]}")


async def serve(
    app: ASGIApp,
    listener: Listener,
    stop: asyncio.Event,
    hurry: asyncio.Event,
    bounds: ConnectionBounds | None = None,
    grace_seconds: int = GRACE_SECONDS,
) -> None:
    """Serve `app` until `stop` is set and the open requests are answered; `hurry` cancels those that are not.

    Connections are bounded as for this process unless other `bounds` are given.
    """
    bounds = bounds or ConnectionBounds()
    server = _Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            backlog=bounds.connections // 4,  # the system's loop accepts all of it at once, before any can be closed
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace_seconds,
        ),
        listener.url,
        bounds,
    )
    stopper = asyncio.create_task(server.exit_after(stop, hurry))
    try:
        await server.serve(sockets=[listener.socket])
    finally:
        stopper.cancel()


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to `task_runtime.ShutdownSignals` and keeps its connections in bounds."""

    def __init__(self, config: uvicorn.Config, url: str, bounds: ConnectionBounds) -> None:
        super().__init__(config)
        self._url = url
        self.server_state: Connections = Connections(bounds)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: uvicorn would raise them again after it has stopped, and end the process by them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and log the URL."""
        await super().startup(sockets=sockets)
        _log.info("listening", url=self._url)

    async def on_tick(self, counter: int) -> bool:
        """Look after each connection once a second, beside what uvicorn does ten times a second."""
        if counter % 10 == 0:
            self._check()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as uvicorn does, and wait for the last answers of the requests that it has cancelled."""
        self.server_state.bounds = replace(self.server_state.bounds, peer_seconds=_LAST_READ_SECONDS)
        checking = asyncio.create_task(self._go_on_checking())
        try:
            await super().shutdown(sockets=sockets)
        finally:
            checking.cancel()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_LAST_ANSWERS_SECONDS)

    async def _go_on_checking(self) -> None:
        """Check while the server stops: a caller that reads nothing of a stream would hold it up to the end.

        So would one whose connection was made after uvicorn had told all others that the server stops.
        """
        while True:
            await asyncio.sleep(_LAST_READ_SECONDS / 4)
            self._check()
            for connection in list(self.server_state.connections):
                connection.shutdown()  # once more changes nothing

    def _check(self) -> None:
        connections = [one for one in self.server_state.connections if isinstance(one, BoundedProtocol)]
        _check(connections, self.server_state.bounds)

    async def exit_after(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Stop the server when `stop` is set, and cancel what it still waits for when `hurry` is set."""
        await stop.wait()
        self.should_exit = True
        await hurry.wait()
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # on Python 3.12 and later the listening socket waits for them
        for task in list(self.server_state.tasks):
            task.cancel()  # after that: of an answer to a caller that is gone uvicorn says nothing


def _check(connections: list[BoundedProtocol], bounds: ConnectionBounds) -> None:
    """Close connections whose callers keep them waiting, and more where too many bytes are unsent."""
    now = time.monotonic()
    for connection in connections:
        connection.check(now)
    unread = sorted((one for one in connections if one.unsent_bytes), key=lambda one: one.stuck_since)
    excess = sum(one.unsent_bytes for one in unread) - bounds.unsent_bytes
    for connection in unread:
        if excess <= 0:
            break
        connection.transport.abort()
        excess -= connection.unsent_bytes


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"TASK_API_PORT: port {port} of {host} is in use; stop what uses it, or choose another"
    if error.errno == errno.EACCES:
        return f"TASK_API_PORT: port {port} is for privileged users only; choose one above 1023"
    return f"TASK_API_HOST: cannot listen on {host} ({error.strerror or error})"
