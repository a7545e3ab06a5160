"""Which worker leads: each tells the database that it is there, and the answer names the leader.

The rule is one statement (`task_store/_statements/workers.py`): no voting, no table of its own. Two leaders for a
moment cost duplicate messages only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from task_runtime import get_logger
from task_store import StoreError, Workers
from task_worker.lease.lease import Lease
from task_worker.waiting import wait_for_event

_log = get_logger(__name__)
ELECTIONS_A_LEASE = 6


class Leadership:
    """Whether this worker leads, by its last election. `begun` is set while it does."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._leader_id: UUID | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this worker leads."""
        return self.begun.is_set()

    def set_leader(self, leader_id: UUID | None, me: UUID | None) -> None:
        """Note which worker leads; None if the database did not answer, or this worker is not registered."""
        is_me = leader_id is not None and leader_id == me
        if leader_id != self._leader_id:
            _log.info("leader_changed", leader_id=leader_id and str(leader_id), is_me=is_me)
        self._leader_id = leader_id
        if is_me:
            self.begun.set()
        else:
            self.begun.clear()


class LeaderElection:
    """Asks the database, six times in a lease, which worker leads. Without an answer this worker does not lead."""

    def __init__(
        self, workers: Workers, lease: Lease, leadership: Leadership, *, reaches_broker: Callable[[], bool]
    ) -> None:
        self._workers = workers
        self._lease = lease
        self._leadership = leadership
        self._reaches_broker = reaches_broker
        self.reaches_database = False
        """Whether the database answered the last election."""
        self._woken = asyncio.Event()
        self._interval = lease.duration / ELECTIONS_A_LEASE

    def wake(self) -> None:
        """Ask at once: this worker has just been registered."""
        self._woken.set()

    async def run(self) -> None:
        """Ask who leads, for ever."""
        while True:
            self._woken.clear()
            worker_id = self._lease.worker_id
            leader_id = None if worker_id is None else await self._ask(worker_id)
            self._leadership.set_leader(leader_id, worker_id)
            await wait_for_event(self._woken, self._interval.total_seconds())

    async def _ask(self, worker_id: UUID) -> UUID | None:
        try:
            leader_id = await self._workers.elect_leader(
                worker_id,
                reaches_broker=self._reaches_broker(),
                interval=self._interval,
                lease=self._lease.duration,
            )
        except StoreError as error:
            self.reaches_database = False
            _log.warning("election_missed", reason=str(error))
            return None
        self.reaches_database = True
        return leader_id
