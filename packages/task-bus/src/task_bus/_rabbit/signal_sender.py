"""Sends the signals of some kinds, over one connection after the other.

**Invariants**

- Signals are sent one at a time, and those that come before the broker has confirmed the last are merged. So the
  broker sets the pace, and `add` never waits for it.
- With `needs_listener`, nothing is sent or kept for a second after the broker has returned a signal, since nobody
  listens. Then one is tried again. While somebody listens, a few go at once and then one each 50 ms, however many come.
"""

from __future__ import annotations

import asyncio
import time

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import PublishError

from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.call_broker import call_broker
from task_bus._rabbit.timings import BrokerTimings
from task_bus._signal_buffer import SignalBuffer
from task_bus._wire import encode_signal
from task_contracts import Signal

_AT_ONCE = 5
"""Signals that need not wait for one another: what a lone task goes through is heard at once."""


class SignalSender:
    """Sends what is added, in the background, while `run` runs.

    Args:
        timings: the deadline of a signal, and the pauses.
        needs_listener: for signals of which there are many. While somebody listens, they are gathered; while nobody
            does, a signal costs next to nothing.

    """

    def __init__(self, timings: BrokerTimings, *, needs_listener: bool = False) -> None:
        self._timings = timings
        self._needs_listener = needs_listener
        self._buffer = SignalBuffer()
        self._is_sent = asyncio.Event()
        self._is_sent.set()
        self._quiet_until = 0.0
        self._paid_until = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether signals are dropped, since nobody listened a moment ago."""
        return time.monotonic() < self._quiet_until

    def add(self, signal: Signal) -> None:
        """Send `signal` soon, unless it is quiet. Never waits, never raises."""
        if not self.is_quiet:
            self._buffer.add(signal)
            self._is_sent.clear()

    async def wait_sent(self) -> None:
        """Wait until nothing waits to be sent, or is under way."""
        await self._is_sent.wait()

    async def run(self, connection: BrokerConnection, exchange: AbstractExchange) -> None:
        """Send for ever over this connection. What waited for an earlier one is sent too."""
        while True:
            await self._buffer.wait()
            try:
                for signal in self._buffer.take():
                    await self._send(connection, exchange, signal)
            except PublishError:  # returned: there is no listener
                self._quiet_until = time.monotonic() + self._timings.quiet_seconds
                self._buffer.take()  # what came while it was under way
            if self._buffer.is_empty:
                self._is_sent.set()
            if self._needs_listener:
                await self._gather()

    async def _gather(self) -> None:
        """Wait where more was sent of late than one signal in `gather_seconds`."""
        now, each = time.monotonic(), self._timings.gather_seconds
        self._paid_until = max(self._paid_until, now) + each
        await asyncio.sleep(self._paid_until - now - (_AT_ONCE - 1) * each)

    async def _send(self, connection: BrokerConnection, exchange: AbstractExchange, signal: Signal) -> None:
        if connection.is_blocked:
            return
        message = Message(encode_signal(signal), delivery_mode=DeliveryMode.NOT_PERSISTENT)
        publishing = exchange.publish(message, signal.kind.value, mandatory=self._needs_listener)
        try:
            await call_broker(self._timings.call_seconds, publishing)
        except TimeoutError:
            connection.check()
