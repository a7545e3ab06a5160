"""Claiming: one loop that fills free slots, from what was delivered or straight from the table (the net).

**Invariants**

- One claim at a time, so that whatever slots come free meanwhile are filled by the next.
- Every claim runs under a token that is under way (`InFlight`) until its rows are in hand.
- While the outcome of a claim is unknown its deliveries stay unacked, and its ids are tried again.
- What is claimed while an earlier attempt of it is still in our hands is given back, not started.
- The net needs no broker, no leader and no mode: with free slots and nothing delivered it looks every second, at once
  again while it finds any, less often while it finds nothing and the broker answers; when busy, one pick in ten.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from task_contracts import Priority
from task_store import Attempts, Claim, StoreError, new_lease_token
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots
from task_worker.lease.in_flight import InFlight
from task_worker.lease.lease import Lease
from task_worker.waiting import wait_for_event

_log = structlog.get_logger(__name__)

OVERDUE = timedelta(seconds=2)
"""How long a task must have been due before the net takes it: the broker's way is given that much time."""
_NET_SECONDS = 1.0
_NET_SECONDS_MAX = 5.0
_BUSY_PICKS = 10
_PUT_BACK_SECONDS = 1.0
_FIRST_DELIVERY_SECONDS = 0.1
"""How long the net waits for the first delivery to consumers that have just begun: it is not to overtake a HIGH one."""
_PAUSE_SECONDS = 0.5


class Claims:
    """Keeps the slots of a worker filled."""

    def __init__(
        self,
        attempts: Attempts,
        buffer: PrefetchBuffer,
        start: Callable[[Claim], None],
        give_back: Callable[[Claim], None],
        *,
        in_flight: InFlight,
        slots: Slots,
        lease: Lease,
        weights: Mapping[Priority, int],
        reaches_broker: Callable[[], bool],
    ) -> None:
        self._attempts = attempts
        self._buffer = buffer
        self._start = start
        self._give_back = give_back
        self._in_flight = in_flight
        self._slots = slots
        self._lease = lease
        self._weights = weights
        self._reaches_broker = reaches_broker
        self._is_stopping = False
        self._ended = asyncio.Event()
        self._picks = 0
        self._net_pause = _NET_SECONDS
        self._net_at = time.monotonic() + _NET_SECONDS

    async def run(self) -> None:
        """Claim until told to stop; then give back what was delivered."""
        self._buffer.put_back()  # what an earlier life of this loop had taken
        while not self._is_stopping:
            if not await self._slots.wait_free(_PUT_BACK_SECONDS):
                await self._buffer.aclose()
                continue
            if not self._lease.is_valid:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if await self._buffer.fit(self._slots.free) and self._reaches_broker():
                await wait_for_event(self._buffer.arrived, _FIRST_DELIVERY_SECONDS)
            if self._is_stopping:  # since the waits above
                break
            if self._is_nets_turn():
                await self._cast_net()
            elif ids := self._buffer.take(self._slots.free):
                await self._claim_delivered(ids)
            else:
                await self._wait_for_work()
        await self._buffer.aclose()
        self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; wait up to `seconds` until the claim under way is answered and the rest given back."""
        self._is_stopping = True
        self._buffer.arrived.set()
        await wait_for_event(self._ended, seconds)

    def _is_nets_turn(self) -> bool:
        if self._buffer.is_empty:
            return time.monotonic() >= self._net_at
        self._picks += 1
        return self._picks % _BUSY_PICKS == 0

    async def _claim_delivered(self, ids: Sequence[UUID]) -> None:
        while True:
            # After a failover an id could be claimable whose earlier attempt is still in our hands.
            untried = [task_id for task_id in ids if task_id not in self._in_flight]
            claimed = await self._claim(functools.partial(self._claim_ids, untried))
            if claimed is not None:
                self._buffer.tried()
                return
            if not self._lease.is_valid or self._is_stopping:
                self._buffer.put_back()
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _cast_net(self) -> None:
        """Claim one suspect if none is in hand, and what is overdue: a backlog is not to hide the suspects."""
        suspects = None if self._in_flight.has_unknown_claim else await self._claim(self._claim_suspect)
        overdue = await self._claim(self._claim_overdue) if self._slots.free and not self._is_stopping else []
        found = None if overdue is None else [*(suspects or []), *overdue]
        if found:
            # With nothing delivered, each of these is a hint that was lost; in a backlog they are merely the oldest.
            (_log.info if self._buffer.is_empty else _log.debug)("claimed_by_poll", tasks=len(found))
            self._net_pause = 0.0
        elif self._reaches_broker() and found is not None:
            self._net_pause = min(max(_NET_SECONDS, self._net_pause * 2), _NET_SECONDS_MAX)
        else:
            self._net_pause = _NET_SECONDS
        self._net_at = time.monotonic() + self._net_pause

    async def _claim_ids(self, ids: Sequence[UUID], worker_id: UUID, lease_token: UUID) -> list[Claim]:
        return await self._attempts.claim(worker_id, ids, lease_token)

    async def _claim_overdue(self, worker_id: UUID, lease_token: UUID) -> list[Claim]:
        return await self._attempts.claim_overdue(
            worker_id, lease_token, slots=self._slots.free, weights=self._weights, overdue=OVERDUE
        )

    async def _claim_suspect(self, worker_id: UUID, lease_token: UUID) -> list[Claim]:
        suspect = await self._attempts.claim_suspect(worker_id, lease_token, overdue=OVERDUE)
        return [] if suspect is None else [suspect]

    async def _claim(self, ask: Callable[[UUID, UUID], Awaitable[list[Claim]]]) -> list[Claim] | None:
        """Claim under a new token and start what comes of it; None if there was no answer."""
        worker_id, lease_token = self._lease.worker_id, new_lease_token()
        if worker_id is None:
            return None
        self._in_flight.claim_begins(lease_token)
        try:
            claimed = await ask(worker_id, lease_token)
        except StoreError as error:
            self._in_flight.claim_unanswered(lease_token)
            _log.warning("claim_unanswered", reason=str(error))
            return None
        except BaseException:
            self._in_flight.claim_unanswered(lease_token)
            raise
        try:
            for claim in claimed:
                (self._give_back if claim.id in self._in_flight else self._start)(claim)
        finally:
            self._in_flight.claim_answered(lease_token)  # what was not started after all, the read-back gives back
        return claimed

    async def _wait_for_work(self) -> None:
        """Wait until something is delivered, or it is the net's turn."""
        await wait_for_event(self._buffer.arrived, max(0.0, self._net_at - time.monotonic()))
