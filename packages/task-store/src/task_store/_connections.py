"""Keeps dead connections of a pool from being used.

**Invariants**

- Before a connection is used its own socket is asked, which costs no round trip: a connection that the other side has
  closed while it was idle is replaced, so no statement is sent on it.
- What has failed in a way that puts the server in doubt (no answer, a lost connection, a database that is read-only, an
  error that nobody knows) puts all connections in doubt that were opened more than a second before: they are replaced,
  so that a failover is found. They are not asked to close, for which one that is half open would take 2 s. The young
  ones stay, unless a connection was lost: else an outage would cost a new connection for each call.
"""

from __future__ import annotations

import math
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from task_store._classify import is_server_in_doubt
from task_store._connecting import socket_of

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

_YOUNG_SECONDS = 1.0
_KEY = "task_store"


@dataclass(frozen=True, slots=True)
class _Opened:
    """When a connection was opened, by `time.monotonic`, and what tells whether something can be read from it."""

    at: float
    readable: select.poll


class ConnectionWatch:
    """Has an engine's pool replace dead and doubtful connections when they are about to be used."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._trusted_since = -math.inf
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "checkout", self._on_checkout)

    def failed(self, error: BaseException, *, is_lost: bool = False) -> None:
        """Note the error of a statement. `is_lost`: its connection is closed, so others may be, of any age."""
        if is_lost:
            self._trusted_since = time.monotonic()
        elif is_server_in_doubt(error):
            self.distrust()

    def distrust(self) -> None:
        """Have the connections replaced that were opened more than a second ago."""
        self._trusted_since = time.monotonic() - _YOUNG_SECONDS

    def _on_checkout(self, connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        driver, opened = connection.driver_connection, entry.info[_KEY]
        # An idle server says nothing but goodbye, so whatever can be read is one, or the end of the stream.
        if opened.at < self._trusted_since or driver.is_closed() or opened.readable.poll(0):
            driver.terminate()
            raise DisconnectionError  # SQLAlchemy opens another one in its place


def _on_connect(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    readable = select.poll()
    readable.register(socket_of(connection.driver_connection).fileno(), select.POLLIN)
    entry.info[_KEY] = _Opened(time.monotonic(), readable)
