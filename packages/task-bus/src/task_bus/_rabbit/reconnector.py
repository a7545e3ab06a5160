"""Keeps a connection to the broker, and makes a new one when it is lost.

**Invariants**

- Only `_keep` opens and closes connections, one at a time. Whatever ends it but `aclose` (an error of our own, a cancel
  that comes from the library or from somebody who cancels every task) is logged, and it begins anew.
- `connection` is set exactly while `set_up` has succeeded on it and it has not failed.
- The broker may be away for as long as it likes, from the start too: nothing here raises because of that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from task_bus._errors import BusUnavailableError
from task_bus._rabbit.broker_connection import BrokerConnection, describe
from task_bus._rabbit.call_broker import CONNECTION_LOST, call_broker
from task_bus._rabbit.timings import BrokerTimings

_log = logging.getLogger(__name__)

_REFUSALS = ("AuthenticationError", "ACCESS_REFUSED", "NOT_ALLOWED", "PRECONDITION_FAILED")
"""What the reason of a refusal holds: wrong credentials, a missing right (403), a virtual host or a limit (530), or a
queue that exists with other arguments (406). It is logged as an error, since trying again does not help."""


class Reconnector:
    """Connects in the background, from `start` to `aclose`, and connects again whenever the connection is lost.

    `set_up` is called on each new connection, to declare and begin everything. The library's own robust connection is
    not used: it restores channel by channel, so nothing says when all is in place, and it waits where this bus must
    fail at once.
    """

    def __init__(
        self,
        url: str,
        name: str,
        timings: BrokerTimings,
        *,
        set_up: Callable[[BrokerConnection], Coroutine[Any, Any, None]],
    ) -> None:
        self._url = url
        self._name = name
        self._timings = timings
        self._set_up = set_up
        self._connection: BrokerConnection | None = None
        self._connected = asyncio.Event()
        self._told: deque[str] = deque(maxlen=16)
        """The reasons that were logged since a connection lasted."""
        self._failures = 0
        self._is_closing = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connection(self) -> BrokerConnection | None:
        """The connection, if it is set up and has not failed; else None."""
        return self._connection if self._connection is not None and not self._connection.failed.done() else None

    def require_connection(self) -> BrokerConnection:
        """Return the connection.

        Raises:
            BusUnavailableError: there is none now.

        """
        if (connection := self.connection) is None:
            raise BusUnavailableError("not connected to the broker")
        return connection

    def start(self) -> None:
        """Begin to connect. Does nothing the second time."""
        if self._keeper is None:
            self._begin()

    async def aclose(self) -> None:
        """Close the connection and make no other. Safe to repeat.

        Where closing takes longer than `leave_seconds`, it goes on in the background.
        """
        self._is_closing = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper], timeout=self._timings.leave_seconds)

    async def wait_connected(self, timeout: float) -> None:
        """Wait until there is a connection.

        Raises:
            TimeoutError: that did not happen within `timeout` seconds.

        """
        async with asyncio.timeout(timeout):
            await self._connected.wait()

    def _begin(self) -> None:
        self._keeper = asyncio.create_task(self._keep())
        self._keeper.add_done_callback(self._on_end)

    def _on_end(self, keeper: asyncio.Task[None]) -> None:
        error = None if keeper.cancelled() else keeper.exception()
        if not self._is_closing:
            _log.error("broker_connection_error", extra={"connection": self._name}, exc_info=error)
            self._begin()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._timings.back_off.pause_seconds(self._failures) if self._failures else 0)
            self._failures += 1  # until it has lasted, however this goes
            if await self._use_one_connection():
                self._failures = 0

    async def _use_one_connection(self) -> bool:
        """Open a connection, wait until it is lost, and close it; return whether it lasted."""
        connection = BrokerConnection(self._url, self._name, self._timings)
        try:
            await connection.open()
            await call_broker(self._timings.set_up_seconds, self._set_up(connection))
            return await self._wait_lost(connection)
        except CONNECTION_LOST as error:
            self._tell(describe(error), as_event="broker_unreachable")
            return False
        finally:
            self._set_connection(None)
            await connection.aclose()

    async def _wait_lost(self, connection: BrokerConnection) -> bool:
        """Show the connection until it is lost; return whether it lasted, which no refused one did."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._set_connection(connection)
        reason = await connection.failed
        is_steady = loop.time() - began > self._timings.steady_seconds and not _is_refusal(reason)
        if is_steady:
            self._told.clear()
        self._tell(reason, as_event="broker_connection_lost")
        return is_steady

    def _set_connection(self, connection: BrokerConnection | None) -> None:
        self._connection = connection
        if connection is None:
            self._connected.clear()
            return
        self._connected.set()
        _log.info("broker_connected", extra={"connection": self._name})

    def _tell(self, reason: str, *, as_event: str) -> None:
        """Log why there is no connection, once for each reason."""
        if reason not in self._told:
            self._told.append(reason)
            level = logging.ERROR if _is_refusal(reason) else logging.WARNING
            _log.log(level, as_event, extra={"connection": self._name, "reason": reason})


def _is_refusal(reason: str) -> bool:
    return any(word in reason for word in _REFUSALS)
