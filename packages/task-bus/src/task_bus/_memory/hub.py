"""The broker of `memory://`: an object that both ends share.

**Invariants**

- It is used on one event loop and nothing here awaits, so each call is atomic.
- A message is in exactly one place: ready in its queue, or held by one consumer. Messages that were put back come
  before those that are ready, in the order in which they were put back, as in a quorum queue.
- Messages are the same bytes as in RabbitMQ, so both buses accept and refuse the same ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from task_bus._errors import UnroutableError
from task_bus._queues import DEAD_MAX, BrokerQueue
from task_contracts import Signal, SignalKind


class MemoryHub:
    """Connects all buses and signals that are opened with it.

    The code that puts the process together makes it and passes it to both ends. Its messages end with it.
    """

    def __init__(self) -> None:
        self.queues: dict[str, MemoryQueue] = {}
        self.dead: deque[bytes] = deque(maxlen=DEAD_MAX)
        """Dead letters, for an operator to read; the oldest are dropped."""
        self.listeners: dict[SignalKind, list[Callable[[Signal], None]]] = {kind: [] for kind in SignalKind}

    def declare(self, queue: BrokerQueue) -> None:
        """Create `queue`, unless it exists."""
        self.queues.setdefault(queue.name, MemoryQueue())

    def queue(self, queue: BrokerQueue) -> MemoryQueue:
        """Return the messages of `queue`.

        Raises:
            UnroutableError: it was not declared.

        """
        try:
            return self.queues[queue.name]
        except KeyError:
            raise UnroutableError(queue.name) from None


class HubConsumer(Protocol):
    """A consumer of a `MemoryQueue`."""

    @property
    def has_room(self) -> bool:
        """Whether it may hold one more message."""

    def take(self, body: bytes) -> None:
        """Hold `body`. Called within `put` and the like, so it only keeps the body and hands it over later."""


class MemoryQueue:
    """The messages of one broker queue that no consumer holds, and its consumers."""

    def __init__(self) -> None:
        self._returned: deque[bytes] = deque()
        self._ready: deque[bytes] = deque()
        self._consumers: deque[HubConsumer] = deque()

    def __len__(self) -> int:
        return len(self._returned) + len(self._ready)

    def put(self, body: bytes) -> None:
        """Add a message at the end."""
        self._ready.append(body)
        self.hand_out()

    def put_back(self, body: bytes) -> None:
        """Return a message: it is delivered next, after those that were put back before it."""
        self._returned.append(body)
        self.hand_out()

    def join(self, consumer: HubConsumer) -> None:
        """Begin to deliver to `consumer`."""
        self._consumers.append(consumer)
        self.hand_out()

    def leave(self, consumer: HubConsumer) -> None:
        """Deliver no more to `consumer`. Safe to repeat."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def hand_out(self) -> None:
        """Deliver messages to the consumers that have room, in turn."""
        while len(self) and (consumer := self._next_consumer()) is not None:
            consumer.take((self._returned or self._ready).popleft())

    def _next_consumer(self) -> HubConsumer | None:
        for _ in range(len(self._consumers)):
            self._consumers.rotate(-1)
            if self._consumers[-1].has_room:
                return self._consumers[-1]
        return None
