"""Keeps the slots of a worker filled: one loop, which claims what was delivered or polls the table.

**Invariants**

- One claim at a time, so that the next one fills whatever slots come free meanwhile.
- While the outcome of a claim is unknown its deliveries stay unacked, and its ids are tried again in halves: what may
  have been too large for its deadline is not asked for again unchanged.
- Without a free slot for a second, nothing stays buffered here that another worker could run.
- A claim of deliveries and a poll begin only under a valid lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from task_runtime import NO_METER, Meter, get_logger
from task_store import Claimed
from task_worker.claim.claimer import Claimer
from task_worker.claim.poll_schedule import PollSchedule
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots
from task_worker.lease.lease import Lease
from task_worker.timings import ClaimTimings
from task_worker.waiting import wait_for_event

_log = get_logger(__name__)


class ClaimLoop:
    """The claiming loop."""

    def __init__(
        self,
        claimer: Claimer,
        buffer: PrefetchBuffer,
        slots: Slots,
        lease: Lease,
        timings: ClaimTimings,
        meter: Meter = NO_METER,
    ) -> None:
        self._claimer = claimer
        self._buffer = buffer
        self._slots = slots
        self._lease = lease
        self._timings = timings
        self._meter = meter
        self._schedule = PollSchedule(timings.poll)
        self._is_stopping = False
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Claim until `stop` is called, then put back what was delivered."""
        self._buffer.put_back()  # deliveries left from before a restart of this loop
        while not self._is_stopping:
            if not await self._slots.wait_free(self._timings.put_back_seconds):
                await self._buffer.aclose()
                continue
            if not self._lease.is_valid:
                await asyncio.sleep(self._timings.retry_seconds)
                continue
            if await self._buffer.fit(self._slots.free) and self._buffer.reaches_broker:
                await wait_for_event(self._buffer.arrived, self._timings.first_delivery_seconds)
            if self._is_stopping:  # since the waits above
                break
            await self._pick()
        await self._buffer.aclose()
        self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; wait up to `seconds` until the claim under way is answered and the rest put back."""
        self._is_stopping = True
        self._buffer.arrived.set()
        await wait_for_event(self._ended, seconds)

    async def _pick(self) -> None:
        if self._schedule.is_due(is_busy=not self._buffer.is_empty):
            await self._poll_table()
        elif ids := self._buffer.take(self._slots.free):
            await self._claim_ids(ids, self._slots.free)
        else:
            await wait_for_event(self._buffer.arrived, self._schedule.seconds_left)

    async def _claim_ids(self, ids: Sequence[UUID], slots: int) -> Claimed | None:
        claimed = await self._claimer.claim_ids(ids, slots)
        if claimed is not None:
            self._buffer.put_first(claimed.left)
            self._buffer.tried(set(ids).difference(claimed.left))
        elif not self._lease.is_valid or self._is_stopping:
            self._buffer.put_back()
        else:
            self._buffer.halve(ids)
            await asyncio.sleep(self._timings.retry_seconds)
        return claimed

    async def _poll_table(self) -> None:
        """Claim one suspect, then what is overdue: a backlog must not hide the suspects."""
        overdue = self._timings.poll.overdue
        suspects = await self._claimer.claim_suspect(overdue) or Claimed()
        is_backlog, slots = not self._buffer.is_empty, self._slots.free
        ids = await self._claimer.find_overdue(slots, overdue) if slots and not self._is_stopping else []
        tasks = await self._claim_ids(ids, slots) if ids and not self._is_stopping else Claimed()
        found = None if ids is None or tasks is None else len(suspects.claims) + len(tasks.claims)
        if found:
            self._meter.poll_claimed(found)
            # With nothing delivered, each of these is a message that was lost; in a backlog they are just the oldest.
            is_backlog = is_backlog or self._buffer.has_deliveries
            (_log.debug if is_backlog else _log.info)("claimed_by_poll", tasks=found)
        self._schedule.polled(found, reaches_broker=self._buffer.reaches_broker)
