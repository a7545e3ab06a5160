"""A listener to signals in RabbitMQ."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from task_bus._delivery import Verdict
from task_bus._rabbit.ack_sender import AckSender
from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.consumers import Consumers
from task_bus._rabbit.topology import declare_listener
from task_bus._wire import ForeignMessageError, decode_signal
from task_contracts import Signal, SignalKind

_log = logging.getLogger(__name__)

_PREFETCH = 50
"""Signals that are on their way at once: each busy process may send twenty a second."""


class RabbitListening:
    """Calls `callback` with each signal of `kinds`. Each kind has a queue in the broker."""

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
        """Declare and consume the queues. They are exclusive: those of an earlier connection were deleted with it."""
        self._consuming = []
        for kind in self._kinds:
            queue = await declare_listener(channel, kind)
            # Of `due` one at a time, so that all but the last are dropped in the queue. Counts for the next consumer.
            await channel.set_qos(prefetch_count=1 if kind is SignalKind.DUE else _PREFETCH)
            self._consuming.append((queue, await queue.consume(partial(self._on_message, ack_sender))))

    async def end(self) -> None:
        """Stop consuming. The broker then deletes the queues."""
        for queue, tag in self._consuming:
            await queue.cancel(tag)

    async def is_forgotten(self, connection: BrokerConnection) -> bool:
        """Return False without a check: signals may be lost."""
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
