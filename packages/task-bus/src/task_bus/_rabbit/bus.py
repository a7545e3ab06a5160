"""The bus over RabbitMQ.

Publishing and consuming have a connection each: while an alarm is on, the broker reads nothing from a connection that
publishes, acks included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from task_bus._delivery import Delivery
from task_bus._entered_once import EnteredOnce
from task_bus._errors import UnroutableError
from task_bus._queues import BrokerQueue, broker_queues
from task_bus._rabbit.consumers import Consumers
from task_bus._rabbit.publisher import Publisher
from task_bus._rabbit.subscription import RabbitSubscription
from task_bus._rabbit.timings import BrokerTimings
from task_bus._rabbit.topology import declare_tasks


class RabbitBus(EnteredOnce):
    """`TaskBus` over RabbitMQ."""

    def __init__(self, url: str, *, queues: Sequence[str], name: str, timings: BrokerTimings | None = None) -> None:
        timings = timings or BrokerTimings()
        self._queues = broker_queues(queues)
        self._publisher = Publisher(url, f"{name} publishing", self._queues, timings)
        self._consumers = Consumers(
            url, f"{name} consuming", timings, prepare=partial(declare_tasks, queues=self._queues)
        )

    @property
    def is_connected(self) -> bool:
        """See `TaskBus`."""
        return self._publisher.can_publish and self._consumers.reconnector.connection is not None

    async def wait_connected(self, timeout: float) -> None:
        """See `TaskBus`."""
        await asyncio.gather(
            self._publisher.reconnector.wait_connected(timeout), self._consumers.reconnector.wait_connected(timeout)
        )

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        """See `TaskBus`."""
        await self._publisher.publish(queue, ids, timeout)

    async def depth(self, queue: BrokerQueue) -> int:
        """See `TaskBus`."""
        return await self._publisher.depth(queue)

    async def consume(
        self, queue: BrokerQueue, *, prefetch: int, on_delivery: Callable[[Delivery], None]
    ) -> RabbitSubscription:
        """See `TaskBus`."""
        if queue not in self._queues:
            raise UnroutableError(queue.name)
        subscription = RabbitSubscription(self._consumers, queue, prefetch, on_delivery)
        await self._consumers.add(subscription)
        return subscription

    def _connect(self) -> None:
        self._publisher.reconnector.start()
        self._consumers.reconnector.start()

    async def _disconnect(self) -> None:
        await asyncio.gather(self._consumers.aclose(), self._publisher.reconnector.aclose())
