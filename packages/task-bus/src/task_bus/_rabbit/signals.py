"""Signals over RabbitMQ.

**Invariants**

- At most one signal of a kind and queue is on its way: the next is taken when the broker has confirmed the last, and
  says all that came meanwhile. So the broker sets the pace, and `send` never waits for it.
- Sending and listening have a connection each; the listening one is made when something first listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractQueue

from task_bus._delivery import Verdict
from task_bus._rabbit.ack_sender import AckSender
from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.call_broker import call_broker
from task_bus._rabbit.consumers import Consumers
from task_bus._rabbit.reconnector import Reconnector
from task_bus._rabbit.topology import declare_listener, declare_signals
from task_bus._signal_buffer import SignalBuffer
from task_bus._wire import ForeignMessageError, decode_signal, encode_signal
from task_contracts import Signal, SignalKind

_log = logging.getLogger(__name__)

SEND_SECONDS = 5.0


class RabbitListening:
    """A queue of its own for each kind, and a callback."""

    def __init__(self, consumers: Consumers, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> None:
        self._consumers = consumers
        self._kinds = sorted(frozenset(kinds))
        self._callback = callback
        self._consuming: list[tuple[AbstractQueue, str]] = []
        self._is_cancelled = False

    async def cancel(self) -> None:
        """See `Listening`."""
        self._is_cancelled = True
        await self._consumers.remove(self)

    async def begin(self, channel: AbstractChannel, ack_sender: AckSender) -> None:
        """Declare and consume the queues; those of an earlier connection are gone with it."""
        self._consuming = []
        # One at a time, so that what is too much is dropped in the queue (of `due` all but the last) and not here.
        await channel.set_qos(prefetch_count=1)
        for kind in self._kinds:
            queue = await declare_listener(channel, kind)
            self._consuming.append((queue, await queue.consume(partial(self._on_message, ack_sender))))

    async def end(self) -> None:
        """Have the broker delete the queues."""
        for queue, tag in self._consuming:
            await queue.cancel(tag)

    async def is_forgotten(self, connection: BrokerConnection) -> bool:
        """Signals may be lost: nobody looks."""
        return False

    async def _on_message(self, ack_sender: AckSender, message: AbstractIncomingMessage) -> None:
        ack_sender.settle(message, Verdict.ACK)
        if self._is_cancelled:
            return
        try:
            signal = decode_signal(message.body)
        except ForeignMessageError:
            _log.debug("foreign_signal_dropped", extra={"bytes": message.body_size})
            return
        self._callback(signal)


class RabbitSignals:
    """`Signals` over RabbitMQ."""

    def __init__(self, url: str, *, name: str) -> None:
        self._reconnector = Reconnector(url, f"{name} sending signals", self._set_up)
        self._consumers = Consumers(url, f"{name} listening", declare_signals)
        self._buffer = SignalBuffer()
        self._is_listening = False

    @property
    def is_connected(self) -> bool:
        """See `Signals`."""
        is_sending = (connection := self._reconnector.connection) is not None and not connection.is_blocked
        return is_sending and (not self._is_listening or self._consumers.reconnector.connection is not None)

    def start(self) -> None:
        """See `Signals`."""
        self._reconnector.start()

    async def aclose(self) -> None:
        """See `Signals`."""
        await self._consumers.aclose()
        await self._reconnector.aclose()

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
        self._consumers.reconnector.start()
        return listening

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
            # Not mandatory: often nobody listens.
            await call_broker(SEND_SECONDS, exchange.publish(message, signal.kind.value, mandatory=False))
        except TimeoutError:
            connection.check()
