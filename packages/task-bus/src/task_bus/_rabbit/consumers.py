"""Runs the consumers of a process, on one channel of a connection of their own.

**Invariants**

- Every consumer that was added and not removed is begun on each new connection, after `prepare`.
- Consumers begin and end one at a time (`_lock`): a channel's prefetch applies to the consumer that begins next on it.
- If a consumer cannot be begun or ended, the connection has failed, and on the next one all that are wanted begin. The
  same holds for a consumer that the broker has forgotten, and for a broker that does not answer whether it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from aio_pika.abc import AbstractChannel

from task_bus._rabbit.ack_sender import AckSender
from task_bus._rabbit.broker_connection import BrokerConnection, describe
from task_bus._rabbit.call_broker import CONNECTION_LOST, call_broker
from task_bus._rabbit.reconnector import Reconnector
from task_bus._rabbit.timings import BrokerTimings


class Consumer(Protocol):
    """What `Consumers` runs."""

    async def begin(self, channel: AbstractChannel, ack_sender: AckSender) -> None:
        """Begin to get messages through `channel`, which other consumers may use too."""

    async def end(self) -> None:
        """Get no more messages."""

    async def is_forgotten(self, connection: BrokerConnection) -> bool:
        """Return whether messages wait and the broker sends it none. Called every `watch_seconds`."""


class Consumers:
    """Runs consumers, and begins them again on each new connection."""

    def __init__(
        self,
        url: str,
        name: str,
        timings: BrokerTimings,
        *,
        prepare: Callable[[AbstractChannel], Coroutine[Any, Any, object]],
    ) -> None:
        self.reconnector = Reconnector(url, name, timings, set_up=self._set_up)
        self._timings = timings
        self._prepare = prepare
        self._wanted: list[Consumer] = []
        self._lock = asyncio.Lock()
        self._current: tuple[BrokerConnection, AbstractChannel, AckSender] | None = None

    async def add(self, consumer: Consumer) -> None:
        """Begin `consumer`: now, if there is a connection, and on each later one."""
        async with self._lock:
            self._wanted.append(consumer)
            if self._current is None:
                return
            connection, channel, ack_sender = self._current
            try:
                await self._call(connection, consumer.begin(channel, ack_sender))
            except asyncio.CancelledError:
                # Whether it has begun is unknown, and the caller has nothing to end it with.
                self._wanted.remove(consumer)
                connection.fail("a consumer was abandoned")
                raise

    async def remove(self, consumer: Consumer) -> None:
        """End `consumer`. Safe to repeat."""
        async with self._lock:
            if consumer not in self._wanted:
                return
            self._wanted.remove(consumer)
            if self._current is not None:
                await self._call(self._current[0], consumer.end())

    async def aclose(self) -> None:
        """Send the verdicts that are pending, then close: the broker takes back what is unsettled."""
        if self._current is not None and self.reconnector.connection is not None:
            with suppress(*CONNECTION_LOST):
                await call_broker(self._timings.flush_seconds, self._current[2].flush())
        await self.reconnector.aclose()

    async def _set_up(self, connection: BrokerConnection) -> None:
        channel = await connection.channel()
        await self._prepare(channel)
        ack_sender = AckSender()
        connection.run(ack_sender.run())
        connection.run(self._watch(connection))
        async with self._lock:
            for consumer in self._wanted:
                await consumer.begin(channel, ack_sender)
            self._current = connection, channel, ack_sender

    async def _watch(self, connection: BrokerConnection) -> None:
        while True:
            await asyncio.sleep(self._timings.watch_seconds)
            for consumer in tuple(self._wanted):
                if await call_broker(self._timings.call_seconds, consumer.is_forgotten(connection)):
                    connection.fail("messages wait and none are delivered")

    async def _call(self, connection: BrokerConnection, call: Coroutine[Any, Any, None]) -> None:
        if connection.failed.done():
            call.close()
            return
        try:
            await call_broker(self._timings.call_seconds, call)
        except CONNECTION_LOST as error:
            connection.fail(describe(error))
