"""The bus within one process.

**Invariant**: once the bus is left, nothing more is handed over, and what its consumers held is back in its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from task_bus._delivery import Delivery
from task_bus._entered_once import EnteredOnce
from task_bus._errors import BusUnavailableError, UnroutableError
from task_bus._memory.hub import MemoryHub
from task_bus._memory.subscription import MemorySubscription
from task_bus._queues import BrokerQueue, broker_queues
from task_bus._wire import encode_due_tasks


class MemoryBus(EnteredOnce):
    """`TaskBus` within one process."""

    def __init__(self, hub: MemoryHub, *, queues: Sequence[str]) -> None:
        self._hub = hub
        self._queues = broker_queues(queues)
        for queue in self._queues:
            hub.declare(queue)
        self._subscriptions: list[MemorySubscription] = []
        self._is_open = False

    @property
    def is_connected(self) -> bool:
        """See `TaskBus`."""
        return self._is_open

    async def wait_connected(self, timeout: float) -> None:
        """See `TaskBus`."""
        if not self._is_open:
            raise TimeoutError("the bus is not open")

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        """See `TaskBus`."""
        self._require_open()
        self._hub.queue(queue).put(encode_due_tasks(ids))
        # As over a network, a caller that publishes in a loop lets other tasks run.
        await asyncio.sleep(0)

    async def depth(self, queue: BrokerQueue) -> int:
        """See `TaskBus`."""
        self._require_open()
        return len(self._hub.queue(queue))

    async def consume(
        self, queue: BrokerQueue, *, prefetch: int, on_delivery: Callable[[Delivery], None]
    ) -> MemorySubscription:
        """See `TaskBus`."""
        if queue not in self._queues:
            raise UnroutableError(queue.name)
        subscription = MemorySubscription(self._hub, queue, prefetch, on_delivery)
        self._subscriptions = [*(one for one in self._subscriptions if not one.is_over), subscription]
        if self._is_open:
            subscription.begin()
        return subscription

    def _connect(self) -> None:
        self._is_open = True
        for subscription in self._subscriptions:
            subscription.begin()

    async def _disconnect(self) -> None:
        self._is_open = False
        for subscription in self._subscriptions:
            await subscription.cancel()
        for subscription in self._subscriptions:
            subscription.give_back()

    def _require_open(self) -> None:
        if not self._is_open:
            raise BusUnavailableError("the bus is not open")
