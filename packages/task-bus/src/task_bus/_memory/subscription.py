"""A consumer of one broker queue in memory.

**Invariants**

- `on_delivery` is called by the event loop, never within a `publish` or an `ack`.
- After `cancel` nothing more is handed over. Messages that are held and not yet handed over are put back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import assert_never

from task_bus._delivery import Delivery, Verdict
from task_bus._memory.hub import MemoryHub
from task_bus._queues import BrokerQueue
from task_bus._wire import ForeignMessageError, decode_due_tasks

_log = logging.getLogger(__name__)


class MemorySubscription:
    """Calls `on_delivery` with each message of one queue, at most `prefetch` unsettled at a time."""

    def __init__(
        self, hub: MemoryHub, queue: BrokerQueue, prefetch: int, on_delivery: Callable[[Delivery], None]
    ) -> None:
        self._queue = queue
        self._messages = hub.queue(queue)
        self._dead = hub.dead
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._held: dict[int, bytes] = {}
        self._tags = count()
        self._is_cancelled = False

    @property
    def has_room(self) -> bool:
        """Whether one more message may be held."""
        return len(self._held) < self._prefetch

    @property
    def is_over(self) -> bool:
        """Whether it was cancelled and holds no message any more."""
        return self._is_cancelled and not self._held

    def begin(self) -> None:
        """Begin to get messages, unless it was cancelled."""
        if not self._is_cancelled:
            self._messages.join(self)

    def take(self, body: bytes) -> None:
        """Hold `body`, and hand it over in the next turn of the event loop."""
        tag = next(self._tags)
        self._held[tag] = body
        asyncio.get_running_loop().call_soon(self._hand_over, tag)

    async def cancel(self) -> None:
        """See `Subscription`."""
        self._is_cancelled = True
        self._messages.leave(self)

    def give_back(self) -> None:
        """Put back all messages that are held: the bus is being left."""
        for tag in tuple(self._held):
            self._settle(tag, Verdict.PUT_BACK)

    def _hand_over(self, tag: int) -> None:
        body = self._held.get(tag)
        if body is None:
            return
        if self._is_cancelled:
            self._settle(tag, Verdict.PUT_BACK)
            return
        try:
            ids = decode_due_tasks(body)
        except ForeignMessageError:
            _log.warning("foreign_message_dead_lettered", extra={"queue": self._queue.name, "bytes": len(body)})
            self._settle(tag, Verdict.DEAD_LETTER)
            return
        self._on_delivery(Delivery(self._queue, ids, partial(self._settle, tag)))

    def _settle(self, tag: int, verdict: Verdict) -> None:
        body = self._held.pop(tag, None)
        if body is None:
            return
        match verdict:
            case Verdict.ACK:
                self._messages.hand_out()
            case Verdict.PUT_BACK:
                self._messages.put_back(body)
            case Verdict.DEAD_LETTER:
                self._dead.append(body)
                self._messages.hand_out()
            case _:
                assert_never(verdict)
