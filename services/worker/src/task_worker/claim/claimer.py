"""Sends the claim statements, and starts what they return.

**Invariants**

- Every claim has a token of its own, which is under way (`InFlight`) until its rows are in flight.
- A claim without an answer is unknown: it may yet take place, and reconciling then gives its rows back.
- A task whose earlier attempt is still in flight here is given back, not started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from task_contracts import Priority
from task_runtime import get_logger
from task_store import Attempts, Claim, StoreError, new_lease_token
from task_worker.lease.in_flight import InFlight
from task_worker.lease.lease import Lease

_log = get_logger(__name__)

_Statement: TypeAlias = Callable[[UUID, UUID], Awaitable[list[Claim]]]
"""Takes the worker's id and a new lease token."""


class Claimer:
    """Claims for one worker. Each method returns what was claimed, or None if the database did not answer.

    Args:
        attempts: the statements.
        weights: how the poll shares its slots among the priorities.
        in_flight, lease: of this worker.
        start: starts a claimed task. Called on the event loop; must not raise.
        release: gives back a claimed task that must not be started here. Same conditions as for `start`.

    """

    def __init__(
        self,
        attempts: Attempts,
        weights: Mapping[Priority, int],
        *,
        in_flight: InFlight,
        lease: Lease,
        start: Callable[[Claim], None],
        release: Callable[[Claim], None],
    ) -> None:
        self._attempts = attempts
        self._weights = weights
        self._in_flight = in_flight
        self._lease = lease
        self._start = start
        self._release = release

    async def claim_ids(self, ids: Sequence[UUID]) -> list[Claim] | None:
        """Claim what was delivered, without the tasks that are still in flight here.

        (After a failover a task could be claimable although its earlier attempt still runs here.)
        """
        untried = [task_id for task_id in ids if task_id not in self._in_flight]
        return await self._claim(lambda worker_id, token: self._attempts.claim(worker_id, untried, token))

    async def claim_overdue(self, slots: int, overdue: timedelta) -> list[Claim] | None:
        """Claim up to `slots` tasks that have been due for `overdue`."""
        return await self._claim(
            lambda worker_id, token: self._attempts.claim_overdue(
                worker_id, token, slots=slots, weights=self._weights, overdue=overdue
            )
        )

    async def claim_suspect(self, overdue: timedelta) -> list[Claim] | None:
        """Claim one suspect that has been due for `overdue`; none while an earlier claim may yet have brought one."""
        if self._in_flight.has_unknown_claim:
            return []

        async def claim(worker_id: UUID, lease_token: UUID) -> list[Claim]:
            suspect = await self._attempts.claim_suspect(worker_id, lease_token, overdue=overdue)
            return [] if suspect is None else [suspect]

        return await self._claim(claim)

    async def _claim(self, statement: _Statement) -> list[Claim] | None:
        worker_id, lease_token = self._lease.worker_id, new_lease_token()
        if worker_id is None:
            return None
        self._in_flight.claim_begins(lease_token)
        try:
            claimed = await statement(worker_id, lease_token)
        except StoreError as error:
            self._in_flight.claim_unanswered(lease_token)
            _log.warning("claim_unanswered", reason=str(error))
            return None
        except BaseException:
            self._in_flight.claim_unanswered(lease_token)
            raise
        try:
            for claim in claimed:
                (self._release if claim.id in self._in_flight else self._start)(claim)
        finally:
            self._in_flight.claim_answered(lease_token)  # reconciling gives back what was not started after all
        return claimed
