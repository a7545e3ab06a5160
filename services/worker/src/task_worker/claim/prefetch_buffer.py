"""Delivered ids that no claim has tried yet: a buffer for each broker queue, emptied by the weights.

**Invariants**

- A delivery is acked once a claim has tried every id of it, and put back otherwise.
- What a claim left for size is the first of the next take. What got no answer is taken again in halves, each by itself,
  in turns with what was delivered.
- The bus's callback only appends to a buffer; it awaits nothing.
- Priorities that wait get their turns by the weights; within a priority the queues take turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from task_bus import BrokerQueue, Delivery, Subscription, TaskBus
from task_contracts import Priority
from task_worker.claim.priority_turns import PriorityTurns

_PREFETCH_MAX = 8
"""Messages that may wait here for each broker queue. A message is worth some 50 ms of work, so this hides the round
trips to the broker; more would only keep work from workers that are idle."""


@dataclass(eq=False)
class _Buffered:
    delivery: Delivery
    waiting: deque[UUID]
    """The ids that have not been taken."""
    untried: int
    """How many ids no claim has tried."""


class PrefetchBuffer:
    """The consumers of one worker and what they delivered.

    Args:
        bus: where to consume.
        queues: those that the worker serves.
        weights: turns of each priority, 1 or more.
        capacity: slots of the worker, 1 or more.

    """

    def __init__(self, bus: TaskBus, queues: Sequence[str], weights: Mapping[Priority, int], capacity: int) -> None:
        self._bus = bus
        self._turns = PriorityTurns(weights)
        self._capacity = capacity
        self._prefetch = 0
        self._subscriptions: list[Subscription] = []
        self._taken: dict[UUID, list[_Buffered]] = {}  # by id: the deliveries from which it was taken and not yet tried
        self._left: deque[UUID] = deque()
        self._halves: deque[list[UUID]] = deque()
        self._is_turn_of_halves = True
        self._buffers = {BrokerQueue(queue, priority): deque[_Buffered]() for queue in queues for priority in weights}
        self._queues_in_turn = {
            priority: [queue for queue in self._buffers if queue.priority is priority] for priority in weights
        }
        self.arrived = asyncio.Event()
        """Set when there is something to take."""

    @property
    def reaches_broker(self) -> bool:
        """Whether the broker would deliver now."""
        return self._bus.is_connected

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._left and not self._halves and not self.has_deliveries

    @property
    def has_deliveries(self) -> bool:
        """Whether something delivered has not been taken."""
        return any(self._buffers.values())

    def take(self, count: int) -> list[UUID]:
        """Return up to `count` ids: what was left for size, then by the weights; or a half of what got no answer.

        Say `tried` once a claim was answered.
        """
        self._is_turn_of_halves = not self._is_turn_of_halves
        if self._halves and (self._is_turn_of_halves or not (self._left or self.has_deliveries)):
            taken = self._next_half(count)
        else:
            taken = self._next_by_weights(count)
        if self.is_empty:
            self.arrived.clear()
        return taken

    def _next_half(self, count: int) -> list[UUID]:
        half = self._halves.popleft()
        if rest := half[count:]:
            self._halves.append(rest)
        return half[:count]

    def _next_by_weights(self, count: int) -> list[UUID]:
        taken = [self._left.popleft() for _ in range(min(count, len(self._left)))]
        while len(taken) < count and (waiting := self._waiting()):
            buffer = self._next_buffer(self._turns.next(waiting))
            first = buffer[0]
            task_id = first.waiting.popleft()
            taken.append(task_id)
            self._taken.setdefault(task_id, []).append(first)
            if not first.waiting:
                buffer.popleft()
        return taken

    def put_first(self, ids: Iterable[UUID]) -> None:
        """Let these ids be the first of the next take: a claim left them for size, or a scan found them."""
        self._left.extend(ids)
        if self._left:
            self.arrived.set()

    def halve(self, ids: Sequence[UUID]) -> None:
        """Let ids whose claim got no answer be taken again, in two halves, each by itself."""
        middle = (len(ids) + 1) // 2
        self._halves.extend(list(half) for half in (ids[:middle], ids[middle:]) if half)
        self.arrived.set()

    def tried(self, ids: Iterable[UUID]) -> None:
        """Note ids that an answered claim has tried; a delivery is acked once all of its ids have been."""
        for task_id in ids:
            for buffered in self._taken.pop(task_id, ()):
                buffered.untried -= 1
                if not buffered.untried:
                    buffered.delivery.ack()

    def put_back(self) -> None:
        """Put what is not acked back at the head of its broker queue, in its order, for any worker with free slots."""
        for buffered in dict.fromkeys(chain(*self._taken.values(), *self._buffers.values())):
            buffered.delivery.put_back()
        self._taken.clear()
        self._left.clear()
        self._halves.clear()
        for buffer in self._buffers.values():
            buffer.clear()
        self.arrived.clear()

    async def fit(self, free: int) -> bool:
        """Begin consumers with a prefetch that fits `free` slots (1 or more); return whether new ones were begun.

        Running consumers are kept unless their prefetch is much too small: a consumer cannot change its prefetch, so a
        larger one needs a new consumer.
        """
        wanted = min(free, self._capacity, _PREFETCH_MAX)
        if self._subscriptions and (self._prefetch >= wanted or self._prefetch * 2 > free):
            return False
        await self.pause()
        self._prefetch = wanted
        self._subscriptions = [
            await self._bus.consume(queue, prefetch=wanted, on_delivery=self._take_in) for queue in self._buffers
        ]
        return True

    async def pause(self) -> None:
        """End the consumers. What is buffered stays."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(subscription.cancel() for subscription in subscriptions))

    async def aclose(self) -> None:
        """End the consumers and put back what is buffered."""
        await self.pause()
        self.put_back()

    def _take_in(self, delivery: Delivery) -> None:
        self._buffers[delivery.queue].append(_Buffered(delivery, deque(delivery.ids), len(delivery.ids)))
        self.arrived.set()

    def _waiting(self) -> set[Priority]:
        return {queue.priority for queue, buffer in self._buffers.items() if buffer}

    def _next_buffer(self, priority: Priority) -> deque[_Buffered]:
        queues = self._queues_in_turn[priority]
        chosen = next(queue for queue in queues if self._buffers[queue])
        queues.remove(chosen)
        queues.append(chosen)  # the queue that had its turn goes to the end
        return self._buffers[chosen]
