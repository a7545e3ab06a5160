"""The broker of `memory://`: an object that both ends hold.

**Invariants**

- One event loop, and nothing here awaits between looking and changing.
- A message is in exactly one place: ready in its queue, or held by one consumer. What is given back stands before
  what is ready, in the order in which it was given back: as a quorum queue does it.
- Messages are the same bytes as in RabbitMQ, so both ways read and refuse them alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from task_bus._errors import UnroutableError
from task_bus._queues import DEAD_MAX, BrokerQueue
from task_contracts import Signal, SignalKind


class MemoryHub:
    """Whoever opens a bus or signals with the same hub is connected to the others.

    Made by whoever puts the process together, and handed to both ends. Its contents go with it.
    """

    def __init__(self) -> None:
        self.queues: dict[str, MemoryQueue] = {}
        self.dead: deque[bytes] = deque(maxlen=DEAD_MAX)
        """What was rejected, for somebody to read."""
        self.listeners: dict[SignalKind, list[Callable[[Signal], None]]] = {kind: [] for kind in SignalKind}

    def declare(self, queue: BrokerQueue) -> None:
        """Have a queue of that name. Safe to repeat."""
        self.queues.setdefault(queue.name, MemoryQueue())

    def queue(self, queue: BrokerQueue) -> MemoryQueue:
        """Return what holds the messages of `queue`.

        Raises:
            UnroutableError: nobody has declared it.

        """
        try:
            return self.queues[queue.name]
        except KeyError:
            raise UnroutableError(queue.name) from None


class HubConsumer(Protocol):
    """Something that takes messages."""

    @property
    def has_room(self) -> bool:
        """Whether it may hold one more."""

    def take(self, body: bytes) -> None:
        """Hold `body`. Called from within `put` and its like, so it only notes it."""


class MemoryQueue:
    """The messages of one broker queue that nobody holds, and who wants them."""

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
        """Give a message back: it is the next one, after those given back before it."""
        self._returned.append(body)
        self.hand_out()

    def join(self, consumer: HubConsumer) -> None:
        """Let `consumer` have messages."""
        self._consumers.append(consumer)
        self.hand_out()

    def leave(self, consumer: HubConsumer) -> None:
        """Let it have no more. Safe to repeat."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def hand_out(self) -> None:
        """Give messages to the consumers that have room, in turn."""
        while len(self) and (consumer := self._next_consumer()) is not None:
            consumer.take((self._returned or self._ready).popleft())

    def _next_consumer(self) -> HubConsumer | None:
        for _ in range(len(self._consumers)):
            self._consumers.rotate(-1)
            if self._consumers[-1].has_room:
                return self._consumers[-1]
        return None
