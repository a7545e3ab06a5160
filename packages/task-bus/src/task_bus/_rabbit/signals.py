"""Signals over RabbitMQ.

**Invariants**

- `changed` signals, of which there may be thousands a second, keep no other signal waiting.
- Sending and listening have a connection each. The one for listening is made when there is a first listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from task_bus._entered_once import EnteredOnce
from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.consumers import Consumers
from task_bus._rabbit.listening import RabbitListening
from task_bus._rabbit.reconnector import Reconnector
from task_bus._rabbit.signal_sender import SignalSender
from task_bus._rabbit.timings import BrokerTimings
from task_bus._rabbit.topology import declare_signals
from task_contracts import Signal, SignalKind


class RabbitSignals(EnteredOnce):
    """`Signals` over RabbitMQ."""

    def __init__(self, url: str, *, name: str, timings: BrokerTimings | None = None) -> None:
        timings = timings or BrokerTimings()
        self._reconnector = Reconnector(url, f"{name} sending signals", timings, set_up=self._set_up)
        self._consumers = Consumers(url, f"{name} listening", timings, prepare=declare_signals)
        self._sender = SignalSender(timings)
        self._changed_sender = SignalSender(timings, needs_listener=True)
        self._is_listening = False
        self._is_open = False

    @property
    def is_connected(self) -> bool:
        """See `Signals`."""
        is_sending = (connection := self._reconnector.connection) is not None and not connection.is_blocked
        return is_sending and (not self._is_listening or self._consumers.reconnector.connection is not None)

    async def wait_connected(self, timeout: float) -> None:
        """See `Signals`."""
        await self._reconnector.wait_connected(timeout)
        if self._is_listening:
            await self._consumers.reconnector.wait_connected(timeout)

    def send(self, signal: Signal) -> None:
        """See `Signals`."""
        if self._reconnector.connection is not None:
            (self._changed_sender if signal.kind is SignalKind.CHANGED else self._sender).add(signal)

    async def wait_sent(self, timeout: float) -> None:
        """See `Signals`."""
        async with asyncio.timeout(timeout):
            await self._sender.wait_sent()

    async def listen(self, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> RabbitListening:
        """See `Signals`."""
        listening = RabbitListening(self._consumers, kinds, callback)
        await self._consumers.add(listening)
        self._is_listening = True
        if self._is_open:
            self._consumers.reconnector.start()
        return listening

    def _connect(self) -> None:
        self._is_open = True
        self._reconnector.start()
        if self._is_listening:
            self._consumers.reconnector.start()

    async def _disconnect(self) -> None:
        self._is_open = False
        await asyncio.gather(self._consumers.aclose(), self._reconnector.aclose())

    async def _set_up(self, connection: BrokerConnection) -> None:
        channel = await connection.channel(confirms=True)
        exchange = await declare_signals(channel)
        for sender in (self._sender, self._changed_sender):
            connection.run(sender.run(connection, exchange))
