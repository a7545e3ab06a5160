"""A consumer of one broker queue in RabbitMQ.

**Invariants**

- The library calls `_on_message` in tasks that a lost connection cancels, so it awaits nothing. What is handed over
  and not settled when the connection is lost is delivered again.
- After `cancel` was called nothing more is handed over; messages that still arrive are put back at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from task_bus._delivery import Delivery, Verdict
from task_bus._queues import BrokerQueue
from task_bus._rabbit.ack_sender import AckSender
from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.consumers import Consumers
from task_bus._rabbit.topology import count_ready
from task_bus._wire import ForeignMessageError, decode_due_tasks

_log = logging.getLogger(__name__)


class RabbitSubscription:
    """Calls `on_delivery` with each message of `queue`, at most `prefetch` unsettled at a time."""

    def __init__(
        self,
        consumers: Consumers,
        queue: BrokerQueue,
        prefetch: int,
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        self.queue = queue
        self._consumers = consumers
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._is_cancelled = False
        self._queue: AbstractQueue | None = None
        self._tag = ""
        self._ack_sender: AckSender | None = None
        self._held = 0
        self._has_received = False
        self._idle_checks = 0

    async def cancel(self) -> None:
        """Stop deliveries; those handed over can still be settled. Safe to repeat, and it never raises."""
        self._is_cancelled = True
        await self._consumers.remove(self)

    async def begin(self, channel: AbstractChannel, ack_sender: AckSender) -> None:
        """Consume on `channel`. What was held on an earlier one counts no more: the broker has taken it back."""
        self._ack_sender, self._held, self._idle_checks = ack_sender, 0, 0
        await channel.set_qos(prefetch_count=self._prefetch)
        self._queue = await channel.get_queue(self.queue.name, ensure=False)
        self._tag = await self._queue.consume(partial(self._on_message, ack_sender))

    async def end(self) -> None:
        """Tell the broker to send no more messages."""
        if self._queue is not None:
            await self._queue.cancel(self._tag)

    async def is_forgotten(self, connection: BrokerConnection) -> bool:
        """Return whether messages waited at two checks in a row, though there was room for them and none came."""
        lacks_delivery = self._held < self._prefetch and not self._has_received
        self._has_received = False
        waiting = await self._count_ready(connection) if lacks_delivery else 0
        self._idle_checks = self._idle_checks + 1 if waiting else 0
        return self._idle_checks > 1

    async def _count_ready(self, connection: BrokerConnection) -> int:
        channel = await connection.disposable_channel()
        depth = await count_ready(channel, queue=self.queue)
        await channel.close()
        return depth

    async def _on_message(self, ack_sender: AckSender, message: AbstractIncomingMessage) -> None:
        settle = partial(self._settle, ack_sender, message)
        self._held += 1
        self._has_received = True
        if self._is_cancelled:
            settle(Verdict.PUT_BACK)
            return
        try:
            ids = decode_due_tasks(message.body)
        except ForeignMessageError:
            _log.warning("foreign_message_dead_lettered", extra={"queue": self.queue.name, "bytes": message.body_size})
            settle(Verdict.DEAD_LETTER)
            return
        self._on_delivery(Delivery(self.queue, ids, settle))

    def _settle(self, ack_sender: AckSender, message: AbstractIncomingMessage, verdict: Verdict) -> None:
        if ack_sender is self._ack_sender:
            self._held -= 1
        ack_sender.settle(message, verdict)
