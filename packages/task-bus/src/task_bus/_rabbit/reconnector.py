"""Keeps a connection to the broker, and makes a new one when it is lost.

**Invariants**

- Only `_keep` opens and closes connections, one at a time. It ends only when it is cancelled.
- `connection` is set exactly while `set_up` has succeeded on it and it has not failed.
- The broker may be away for as long as it likes, from the start too: nothing here raises because of that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from aio_pika.exceptions import (
    AuthenticationError,
    ChannelPreconditionFailed,
    ProbableAuthenticationError,
)

from task_bus._errors import BusUnavailableError
from task_bus._rabbit.broker_connection import BrokerConnection, describe
from task_bus._rabbit.call_broker import CONNECTION_LOST, call_broker
from task_bus._rabbit.timings import BrokerTimings

_log = logging.getLogger(__name__)

_NEEDS_OPERATOR = (AuthenticationError, ProbableAuthenticationError, ChannelPreconditionFailed)
"""These are logged as errors, since trying again does not help: wrong credentials, or a queue that exists with other
arguments."""


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
        self._last_reason: str | None = None
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
            self._keeper = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Close the connection and make no other. Safe to repeat.

        Where closing takes longer than `leave_seconds`, it goes on in the background.
        """
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

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                is_steady = await self._use_one_connection()
            except Exception:  # noqa: BLE001 # the outermost loop: whatever it is, the next connection may be better
                _log.exception("broker_connection_error", extra={"connection": self._name})
                is_steady = False
            failures = 0 if is_steady else failures + 1
            await asyncio.sleep(self._timings.back_off.pause_seconds(failures) if failures else 0)

    async def _use_one_connection(self) -> bool:
        """Open a connection, wait until it is lost, and close it; return whether it lasted."""
        loop = asyncio.get_running_loop()
        connection = BrokerConnection(self._url, self._name, self._timings)
        try:
            await connection.open()
            await call_broker(self._timings.set_up_seconds, self._set_up(connection))
            began = loop.time()
            self._set_connection(connection)
            self._log_lost(await connection.failed)
            return loop.time() - began > self._timings.steady_seconds
        except CONNECTION_LOST as error:
            self._log_refused(error)
            return False
        finally:
            self._set_connection(None)
            await connection.aclose()

    def _set_connection(self, connection: BrokerConnection | None) -> None:
        self._connection = connection
        if connection is None:
            self._connected.clear()
            return
        self._connected.set()
        self._last_reason = None
        _log.info("broker_connected", extra={"connection": self._name})

    def _log_lost(self, reason: str) -> None:
        _log.warning("broker_connection_lost", extra={"connection": self._name, "reason": reason})

    def _log_refused(self, error: BaseException) -> None:
        reason = describe(error)
        if reason != self._last_reason:
            level = logging.ERROR if isinstance(error, _NEEDS_OPERATOR) else logging.WARNING
            _log.log(level, "broker_unreachable", extra={"connection": self._name, "reason": reason})
        self._last_reason = reason
