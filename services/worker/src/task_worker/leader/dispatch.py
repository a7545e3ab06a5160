"""Dispatch: the leader marks what is due and publishes its ids.

**Invariants**

- Mark first, publish after: a message exists only once its mark has committed. Whatever is lost in between is a hint,
  and the net has it.
- Each broker queue is read for itself, as far as its own window has room.
- A round is small, and shared by the weights: publishing for LOW must not let HIGH, which is taken faster, run dry.
  (Measured with workers whose threads keep the processor busy, where 600 messages take seconds: median ranks of first
  starts of HIGH, MEDIUM and LOW among 2,400 tasks 860, 1170 and 1500 with whole windows, 700, 1340 and 2000 now.)
- While it cannot publish, nothing is marked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from task_bus import BrokerQueue, BusError, TaskBus
from task_contracts import Priority
from task_store import Dispatches, DispatchQuota, LiveOffers, StoreError, Workers
from task_worker.leader.election import Leadership
from task_worker.leader.queue_window import QueueWindow
from task_worker.waiting import wait_for_event

_log = structlog.get_logger(__name__)

_PUBLISH_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 1.0
_FULL_PAUSE_SECONDS = 0.1
"""A full window is worth seconds of work, so this keeps nobody waiting."""
_FAILED_PAUSE_SECONDS = 0.5
_OFFERS_SECONDS = 5.0
_LOCKED_PAUSE_SECONDS = 0.02
"""Where something is due and yet was not marked, somebody else has it locked."""
_MARK_IDS_MAX = 1_000
"""Ids that one statement marks in one broker queue."""
_ROUND_MESSAGES = 10
"""What one round publishes to one broker queue, times the weight of its priority."""


class Dispatch:
    """The leader's dispatch. `ring` wakes it: something may have become due, or somebody offers something new."""

    def __init__(
        self,
        bus: TaskBus,
        dispatches: Dispatches,
        workers: Workers,
        leadership: Leadership,
        queues: Sequence[str],
        weights: Mapping[Priority, int],
    ) -> None:
        self._bus = bus
        self._dispatches = dispatches
        self._workers = workers
        self._leadership = leadership
        self._weights = weights
        self._windows = {BrokerQueue(queue, priority): QueueWindow() for queue in queues for priority in Priority}
        self._rung = asyncio.Event()
        self._offers_stale_at = 0.0
        self._offers = LiveOffers({}, {})

    def ring(self) -> None:
        """Look at once."""
        self._rung.set()

    def offers_changed(self) -> None:
        """Read what is offered anew, and look at once."""
        self._offers_stale_at = 0.0
        self._rung.set()

    async def run(self) -> None:
        """Dispatch for ever, while this worker leads and reaches the broker."""
        while True:
            await self._wait_until_leading()
            self._rung.clear()
            try:
                pause = await self._round() if self._bus.is_connected else _FAILED_PAUSE_SECONDS
            except (StoreError, BusError) as error:
                _log.warning("dispatch_failed", reason=str(error))
                pause = _FAILED_PAUSE_SECONDS
            await wait_for_event(self._rung, pause)

    async def _wait_until_leading(self) -> None:
        if not self._leadership.is_leading:
            await self._leadership.begun.wait()
            # Another leader may have filled the broker queues meanwhile: look before anything is published.
            self._windows = {queue: QueueWindow() for queue in self._windows}

    async def _round(self) -> float:
        """Go some way to full windows; return for how many seconds nothing is to be done."""
        if time.monotonic() >= self._offers_stale_at:
            self._offers = await self._workers.live_offers()
            self._offers_stale_at = time.monotonic() + _OFFERS_SECONDS
        await asyncio.gather(*(self._look(queue) for queue, window in self._windows.items() if window.should_look))
        rooms = self._rooms()
        if not rooms:
            return _FULL_PAUSE_SECONDS if self._served() else _LOOK_AGAIN_SECONDS
        marked = await self._dispatches.mark(rooms, self._offers)
        if marked:
            sent = await asyncio.gather(*(self._publish(BrokerQueue(*line), ids) for line, ids in marked.items()))
            return 0.0 if all(sent) else _FAILED_PAUSE_SECONDS
        until = await self._dispatches.next_due(rooms, self._offers)
        is_full = len(rooms) < len(self._served())
        longest = _FULL_PAUSE_SECONDS if is_full else _LOOK_AGAIN_SECONDS
        return longest if until is None else min(longest, max(_LOCKED_PAUSE_SECONDS, until.total_seconds()))

    def _served(self) -> list[BrokerQueue]:
        return [queue for queue in self._windows if queue.queue in self._offers.types_by_queue]

    def _rooms(self) -> list[DispatchQuota]:
        return [
            DispatchQuota(queue.queue, queue.priority, ids)
            for queue in self._served()
            if (ids := self._room_ids(queue))
        ]

    def _room_ids(self, queue: BrokerQueue) -> int:
        """Return how many ids a round may mark: in proportion to the weights, whatever a message carries."""
        window = self._windows[queue]
        largest = max(self._windows[BrokerQueue(queue.queue, priority)].message_ids for priority in Priority)
        one = min(_ROUND_MESSAGES * largest, _MARK_IDS_MAX // max(self._weights.values()))
        return min(window.room * window.message_ids, one * self._weights[queue.priority])

    async def _look(self, queue: BrokerQueue) -> None:
        workers = self._offers.workers_by_queue.get(queue.queue, 1)
        self._windows[queue].looked(await self._bus.depth(queue), workers)

    async def _publish(self, queue: BrokerQueue, ids: Sequence[UUID]) -> bool:
        size = self._windows[queue].message_ids
        messages = [ids[start : start + size] for start in range(0, len(ids), size)]
        sent = await asyncio.gather(*(self._publish_one(queue, message) for message in messages))
        if lost := sent.count(False):
            _log.warning("messages_lost", broker_queue=queue.name, messages=lost)
        return not lost

    async def _publish_one(self, queue: BrokerQueue, ids: Sequence[UUID]) -> bool:
        self._windows[queue].published(len(ids))
        try:
            await self._bus.publish(queue, ids, timeout=_PUBLISH_SECONDS)
        except BusError:
            return False  # marked and not published, or perhaps: the net has them
        return True
