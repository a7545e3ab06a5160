"""Publishes messages, and counts those that wait.

**Invariants**

- All messages go through one long-lived channel with confirms: any number of calls may be under way at once, and
  their confirms come back together.
- Queries about queues use another channel, since the broker answers some of them by closing it. They go one at a time,
  each with a deadline of its own: one without an answer must not use up the time of those behind it.
- Nothing is sent on a connection that the broker has blocked: the call fails at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import ChannelInvalidStateError, PublishError

from task_bus._errors import BusUnavailableError, PublishUnconfirmedError, UnroutableError
from task_bus._queues import BrokerQueue
from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.call_broker import CONNECTION_LOST, call_broker
from task_bus._rabbit.reconnector import Reconnector
from task_bus._rabbit.timings import BrokerTimings
from task_bus._rabbit.topology import count_ready, declare_tasks
from task_bus._wire import encode_due_tasks

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Publisher:
    """Publishes to broker queues, and counts the messages that are ready in them."""

    def __init__(self, url: str, name: str, queues: Sequence[BrokerQueue], timings: BrokerTimings) -> None:
        self.reconnector = Reconnector(url, name, timings, set_up=self._set_up)
        self._timings = timings
        self._queues = queues
        self._lock = asyncio.Lock()
        self._repairs = 0
        self._exchange: AbstractExchange
        self._query_channel: AbstractChannel

    @property
    def can_publish(self) -> bool:
        """Whether a message would be sent now."""
        return (connection := self.reconnector.connection) is not None and not connection.is_blocked

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], timeout: float) -> None:
        """Publish one message. If a queue of this bus was deleted, declare it again and repeat."""
        body = encode_due_tasks(ids)
        repairs = self._repairs
        try:
            await self._send(queue, body, timeout)
        except UnroutableError:
            await self._repair(queue, repairs)
            await self._send(queue, body, timeout)

    async def depth(self, queue: BrokerQueue) -> int:
        """Return how many messages are ready in `queue`. If a queue of this bus was deleted, declare it again: 0."""
        repairs = self._repairs
        try:
            return await self._query(partial(count_ready, queue=queue))
        except UnroutableError:
            await self._repair(queue, repairs)
            return 0

    async def _set_up(self, connection: BrokerConnection) -> None:
        channel = await connection.channel(confirms=True)
        self._exchange = await declare_tasks(channel, self._queues)
        self._query_channel = await connection.disposable_channel()

    async def _send(self, queue: BrokerQueue, body: bytes, timeout: float) -> None:
        connection = self._require_connection()
        message = Message(body, content_type="application/json", delivery_mode=DeliveryMode.PERSISTENT)
        try:
            await call_broker(timeout, self._exchange.publish(message, queue.name))
        except PublishError:
            raise UnroutableError(queue.name) from None
        except ChannelInvalidStateError as error:
            raise BusUnavailableError("the connection to the broker was just lost") from error
        except CONNECTION_LOST as error:
            connection.check()
            raise PublishUnconfirmedError(f"no confirm from the broker: {error}") from error

    async def _repair(self, queue: BrokerQueue, seen: int) -> None:
        """Declare everything again, once for all callers that found a queue missing after `seen` repairs."""
        if queue not in self._queues:
            raise UnroutableError(queue.name)
        await self._query(partial(self._declare, seen=seen))

    async def _declare(self, channel: AbstractChannel, *, seen: int) -> None:
        if self._repairs == seen:
            await asyncio.sleep(self._timings.redeclare_pause_seconds)
            await declare_tasks(channel, self._queues)
            self._repairs += 1
            _log.warning("broker_queues_declared_again")

    async def _query(self, query: Callable[[AbstractChannel], Coroutine[Any, Any, T]]) -> T:
        async with self._lock:
            connection = self._require_connection()
            try:
                return await call_broker(self._timings.call_seconds, self._on_query_channel(connection, query))
            except CONNECTION_LOST as error:
                connection.check()
                raise BusUnavailableError("the broker did not answer") from error

    async def _on_query_channel(
        self, connection: BrokerConnection, query: Callable[[AbstractChannel], Coroutine[Any, Any, T]]
    ) -> T:
        if self._query_channel.is_closed:
            self._query_channel = await connection.disposable_channel()
        return await query(self._query_channel)

    def _require_connection(self) -> BrokerConnection:
        connection = self.reconnector.require_connection()
        if connection.is_blocked:
            raise BusUnavailableError("the broker takes no messages now: an alarm is on")
        return connection
