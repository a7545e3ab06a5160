"""Sends the claim statements, and starts what they return.

**Invariants**

- Every claim has a token of its own, which is under way (`InFlight`) until its rows are in flight.
- A claim without an answer is unknown: it may yet take place, and reconciling then gives its rows back.
- A task whose earlier attempt is still in flight here is given back, not started.
- A suspect is claimed only while every claim's outcome is known: what this worker holds is in flight then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from task_runtime import NO_METER, Batched, Meter, get_logger
from task_store import BATCH_BYTES, Claim, Claimed, Claims, StoreError, new_lease_token
from task_worker.claim.slots import Slots
from task_worker.lease.in_flight import InFlight
from task_worker.lease.lease import Lease

_log = get_logger(__name__)

_Statement: TypeAlias = Callable[[UUID, UUID], Awaitable[Claimed]]
"""Takes the worker's id and a new lease token."""


class Claimer:
    """Claims for one worker. Each method returns what was claimed, or None if it got no answer.

    Args:
        claims: the statements.
        in_flight, slots, lease: of this worker.
        start: starts a claimed task. Called on the event loop; must not raise.
        release: gives back a claimed task that must not be started here. Same conditions as for `start`.
        meter: told how many tasks each claim brought.

    """

    def __init__(
        self,
        claims: Claims,
        *,
        in_flight: InFlight,
        slots: Slots,
        lease: Lease,
        start: Callable[[Claim], None],
        release: Callable[[Claim], None],
        meter: Meter = NO_METER,
    ) -> None:
        self._claims = claims
        self._in_flight = in_flight
        self._slots = slots
        self._lease = lease
        self._start = start
        self._release = release
        self._meter = meter

    async def claim_ids(self, ids: Sequence[UUID], slots: int) -> Claimed | None:
        """Claim up to `slots` of these ids, in their order, without the tasks that are still in flight here.

        (After a failover a task could be claimable although its earlier attempt still runs here.)
        """
        untried = [task_id for task_id in ids if task_id not in self._in_flight]
        max_bytes = min(BATCH_BYTES, self._slots.free_payload_bytes)
        return await self._claim(
            untried,
            lambda worker_id, token: self._claims.by_id(worker_id, untried, token, slots=slots, max_bytes=max_bytes),
        )

    async def find_overdue(self, slots: int, overdue: timedelta) -> list[UUID] | None:
        """Return ids to claim `slots` of, which have been due for `overdue`."""
        return await _found(self._claims.find_overdue(slots=slots, overdue=overdue))

    async def claim_suspect(self, overdue: timedelta) -> Claimed | None:
        """Claim one suspect that has been due for `overdue`; none while an earlier claim may yet have brought one."""
        if self._in_flight.has_unknown_claim:
            return Claimed()
        for task_id in await _found(self._claims.find_suspects(overdue=overdue)) or ():
            claimed = await self._claim_suspect(task_id)
            if claimed is None or claimed.claims:
                return claimed
        return Claimed()

    async def _claim_suspect(self, task_id: UUID) -> Claimed | None:
        held_ids = [attempt.claim.id for attempt in self._in_flight.attempts()]
        return await self._claim(
            [task_id],
            lambda worker_id, token: self._claims.suspect(worker_id, task_id, token, held_ids=held_ids),
        )

    async def _claim(self, ids: Sequence[UUID], statement: _Statement) -> Claimed | None:
        worker_id, lease_token = self._lease.worker_id, new_lease_token()
        if worker_id is None:
            return None
        self._in_flight.claim_begins(lease_token)
        try:
            claimed = await statement(worker_id, lease_token)
        except StoreError as error:
            self._in_flight.claim_unanswered(lease_token, ids)
            _log.warning("claim_unanswered", reason=str(error))
            return None
        except BaseException:
            self._in_flight.claim_unanswered(lease_token, ids)
            raise
        try:
            for claim in claimed.claims:
                (self._release if claim.id in self._in_flight else self._start)(claim)
        finally:
            self._in_flight.claim_answered(lease_token)  # reconciling gives back what was not started after all
        self._meter.batch(Batched.CLAIM, len(claimed.claims))
        return claimed


async def _found(scan: Awaitable[list[UUID]]) -> list[UUID] | None:
    try:
        return await scan
    except StoreError as error:
        _log.warning("poll_unanswered", reason=str(error))
        return None
