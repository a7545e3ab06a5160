"""Signals over RabbitMQ.

**Invariants**

- Signals are sent one at a time, and those that come before the broker has confirmed the last are merged. So the
  broker sets the pace, and `send` never waits for it.
- Sending and listening have a connection each. The one for listening is made when there is a first listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractExchange

from task_bus._entered_once import EnteredOnce
from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.call_broker import call_broker
from task_bus._rabbit.consumers import Consumers
from task_bus._rabbit.listening import RabbitListening
from task_bus._rabbit.reconnector import Reconnector
from task_bus._rabbit.timings import BrokerTimings
from task_bus._rabbit.topology import declare_signals
from task_bus._signal_buffer import SignalBuffer
from task_bus._wire import encode_signal
from task_contracts import Signal, SignalKind


class RabbitSignals(EnteredOnce):
    """`Signals` over RabbitMQ."""

    def __init__(self, url: str, *, name: str, timings: BrokerTimings | None = None) -> None:
        self._timings = timings or BrokerTimings()
        self._reconnector = Reconnector(url, f"{name} sending signals", self._timings, set_up=self._set_up)
        self._consumers = Consumers(url, f"{name} listening", self._timings, prepare=declare_signals)
        self._buffer = SignalBuffer()
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
            self._buffer.add(signal)

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
        connection.run(self._send_all(connection, await declare_signals(channel)))

    async def _send_all(self, connection: BrokerConnection, exchange: AbstractExchange) -> None:
        while True:
            await self._buffer.wait()
            for signal in self._buffer.take():
                await self._send(connection, exchange, signal)

    async def _send(self, connection: BrokerConnection, exchange: AbstractExchange, signal: Signal) -> None:
        if connection.is_blocked:
            return
        message = Message(encode_signal(signal), delivery_mode=DeliveryMode.NOT_PERSISTENT)
        try:
            # Not mandatory: often there is no listener.
            await call_broker(self._timings.call_seconds, exchange.publish(message, signal.kind.value, mandatory=False))
        except TimeoutError:
            connection.check()
