"""Dispatch: the leader marks what is due and publishes its ids.

**Invariants**

- Mark first, publish after: a message exists only once its mark has committed. If anything is lost in between it is a
  message, and the poll takes its tasks.
- Each broker queue is read by itself, as far as its own window has room, and a round is shared by the weights. One
  whose depth the broker does not tell keeps no other out.
- While nothing can be published, nothing is marked.
- A look that nobody asked for, when nothing was known to become due, reads when the next task is due before it marks:
  one statement a second while there is nothing to do. All other rounds mark at once.
- Where scans of the table begin at a low-water time, the whole is marked now and then beside them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TypeAlias
from uuid import UUID

from task_bus.signals import Signals
from task_contracts import Signal, SignalKind
from task_runtime import NO_METER, Batched, Meter, get_logger
from task_store import Dispatches, DispatchQuota, Lane, LiveOffers, StoreError, Workers
from task_worker.leader.broker_queues import BrokerQueues
from task_worker.leader.election import Leadership
from task_worker.timings import DispatchTimings
from task_worker.waiting import wait_for_event

_log = get_logger(__name__)

TakeDue: TypeAlias = Callable[[str, Sequence[UUID], int], bool]


class Dispatch:
    """The loop that dispatches while this worker leads. A `due` signal wakes it.

    Args:
        queues: where to publish.
        signals: where to listen for wake-ups.
        dispatches, workers: the statements.
        leadership: of this worker.
        timings: how it waits.
        meter: told how many tasks each round marked, and which types are offered.
        take: takes tasks that have just become due for this worker itself, by their queue, their ids and how many
            workers serve the queue, and says whether it does. They are looked at again a moment later: it may not have
            got them.

    """

    def __init__(
        self,
        queues: BrokerQueues,
        signals: Signals,
        dispatches: Dispatches,
        workers: Workers,
        leadership: Leadership,
        timings: DispatchTimings,
        meter: Meter = NO_METER,
        *,
        take: TakeDue,
    ) -> None:
        self._queues = queues
        self._signals = signals
        self._dispatches = dispatches
        self._workers = workers
        self._leadership = leadership
        self._timings = timings
        self._meter = meter
        self._take = take
        self._woken = asyncio.Event()
        self._offers_stale_at = 0.0
        self._offers = LiveOffers({}, {})
        self.pause_is_over = asyncio.Event()
        """Set while a pause is over whose tasks wait to be marked: `Settle` waits for it."""

    async def run(self) -> None:
        """Dispatch for ever, while this worker leads and reaches the broker."""
        while True:
            await self._leadership.begun.wait()
            self._queues.reset()
            self._dispatches.reset()
            self._offers_stale_at = 0.0
            listening = await self._signals.listen({SignalKind.DUE}, self._on_due)
            try:
                await self._dispatch_while_leading()
            finally:
                await listening.cancel()

    @property
    def offers(self) -> LiveOffers:
        """What live workers offered when it was last read."""
        return self._offers

    def resume(self, lanes: Iterable[Lane]) -> None:
        """Mark from the beginning of these lanes, at once: their pauses were settled."""
        self.pause_is_over.clear()
        self._dispatches.forget(lanes)
        self._woken.set()

    async def run_whole(self) -> None:
        """Dispatch from the whole table, for ever, when it is time."""
        while True:
            await asyncio.sleep(self._timings.idle_seconds)
            if self._leadership.is_leading and self._queues.is_connected:
                try:
                    await self._whole_round()
                except StoreError as error:
                    _log.warning("whole_scan_missed", reason=str(error), by="dispatch")

    async def _whole_round(self) -> None:
        quotas = self._queues.quotas(self._offers.types_by_queue)
        if self._dispatches.is_whole_due(quotas, self._offers):
            await self._queues.publish(await self._dispatches.mark_whole(quotas, self._offers))

    async def _dispatch_while_leading(self) -> None:
        pause = 0.0
        while self._leadership.is_leading:
            is_idle = pause >= self._timings.idle_seconds and not self._woken.is_set()
            self._woken.clear()
            try:
                connected = self._queues.is_connected
                pause = await self._round(is_idle=is_idle) if connected else self._timings.failed_seconds
                if self._dispatches.is_pause_over:
                    self.pause_is_over.set()
            except StoreError as error:
                _log.warning("dispatch_failed", reason=str(error))
                pause = self._timings.failed_seconds
            await wait_for_event(self._woken, pause)

    def _on_due(self, signal: Signal) -> None:
        """Look at once: something is due, or, where the signal names no queue, the offers have changed."""
        if signal.queue is None:
            self._offers_stale_at = 0.0
        elif self._take(signal.queue, signal.ids, self._offers.workers_by_queue.get(signal.queue, 1)):
            asyncio.get_running_loop().call_later(self._timings.taken_seconds, self._woken.set)
            return
        self._woken.set()

    async def _round(self, *, is_idle: bool = False) -> float:
        """Mark and publish one round; return after how many seconds there may be more to do.

        `is_idle`: nothing is known to be due, so it is asked first.
        """
        await self._refresh_offers()
        queues = self._offers.types_by_queue
        await self._queues.look(self._offers)
        quotas = self._queues.quotas(queues)
        longest = self._timings.full_seconds if self._queues.has_full(queues, quotas) else self._timings.idle_seconds
        if not quotas:
            return longest
        if is_idle and (pause := await self._pause(quotas, longest)) > self._timings.locked_seconds:
            return pause
        if marked := await self._dispatches.mark(quotas, self._offers):
            self._meter.batch(Batched.DISPATCH, sum(map(len, marked.values())))
            return 0.0 if await self._queues.publish(marked) else self._timings.failed_seconds
        return await self._pause(quotas, longest)

    async def _pause(self, quotas: Sequence[DispatchQuota], longest: float) -> float:
        """Return how long until the next task can be marked, `longest` at most; never 0: one may be locked."""
        until = await self._dispatches.next_due(quotas, self._offers)
        return longest if until is None else min(longest, max(self._timings.locked_seconds, until.total_seconds()))

    async def _refresh_offers(self) -> None:
        if time.monotonic() >= self._offers_stale_at:
            self._offers = await self._workers.live_offers()
            self._meter.offer("leader", chain.from_iterable(self._offers.types_by_queue.values()))
            self._offers_stale_at = time.monotonic() + self._timings.offers_seconds
