"""How many connections the server keeps, and what each of them may cost it.

**Invariants**

- There are never more than `ConnectionBounds.connections`: where one more comes, the one whose caller has kept the
  server waiting longest makes room, so that silent callers cannot keep out those that ask.
- A connection whose request has arrived in full and is not answered yet is not closed for another.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from dataclasses import dataclass, field

from uvicorn.server import ServerState

from task_runtime import get_logger

_log = get_logger(__name__)

CONNECTIONS_MAX = 2_500
"""The most connections of one process, however many files it may open: each may hold a head of 64 KiB.

Half of them may be streams: so there is room for 1,000 streams, and as many callers that wait.
"""

_SILENCE_SECONDS = 600.0
"""For so long the log does not repeat that connections were closed for others."""


def most_connections() -> int:
    """Return half of the files that this process may open, at most `CONNECTIONS_MAX`.

    The other half is for the database, the broker and, in the standalone, the processes of handlers; and for callers
    that were accepted before others were closed.
    """
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    import resource  # here: it does not exist on Windows

    return int(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, CONNECTIONS_MAX))


@dataclass(frozen=True)
class ConnectionBounds:
    """What callers may ask of the server before a request has arrived, and after its answer."""

    head_bytes: int = 64 << 10
    """For the head of a request, and for anything else that is not a body, such as a trailer."""
    headers: int = 256
    """For the headers of a request: each of them costs some hundred bytes beside its own."""
    peer_seconds: float = 10.0
    """For a head to arrive, and for a caller to read a part of its answer."""
    unsent_bytes: int = 128 << 20
    """Of answers that callers have not read yet, all connections together."""
    connections: int = field(default_factory=most_connections)
    """Open at once."""


class Connections(ServerState):
    """The open connections, and those that wait for their callers in the order in which they began to."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        super().__init__()
        self.bounds = bounds
        self._since_by_waiting: dict[asyncio.Transport, float] = {}
        self._said_at = -math.inf

    def begin_waiting(self, transport: asyncio.Transport) -> None:
        """From now on the connection waits for the head of a request; where it did already, anew."""
        self.end_waiting(transport)
        self._since_by_waiting[transport] = time.monotonic()

    def end_waiting(self, transport: asyncio.Transport) -> None:
        """Note that the request has arrived, or that the connection is closed. Repeats are harmless."""
        self._since_by_waiting.pop(transport, None)

    def is_overdue(self, transport: asyncio.Transport) -> bool:
        """Return whether the connection has waited for its caller longer than for `peer_seconds`."""
        since = self._since_by_waiting.get(transport, math.inf)
        return time.monotonic() - since >= self.bounds.peer_seconds

    def make_room(self) -> None:
        """Where there is one connection too many, close the one that has waited longest, at once."""
        if len(self.connections) <= self.bounds.connections:
            return
        transport = next(iter(self._since_by_waiting))  # never empty: the new connection waits too
        self.end_waiting(transport)
        transport.abort()
        if time.monotonic() - self._said_at >= _SILENCE_SECONDS:
            self._said_at = time.monotonic()
            _log.warning("connections_capped", limit=self.bounds.connections)
