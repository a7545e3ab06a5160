"""The sweep: declares expired workers dead, and brings back the tasks of dead workers.

It runs as often as the election, since a claim may commit just after its worker was declared dead.
"""

from __future__ import annotations

from task_contracts.lifecycle import Event
from task_runtime import get_logger
from task_store import Workers
from task_worker.leader.election import ELECTIONS_A_LEASE, Leadership
from task_worker.leader.while_leading import while_leading
from task_worker.lease.lease import Lease

_log = get_logger(__name__)
_ROWS = 500


class Sweep:
    """Sweeps six times a lease. Two leaders at once do no harm: each row is locked."""

    def __init__(self, workers: Workers, lease: Lease, leadership: Leadership) -> None:
        self._workers = workers
        self._lease = lease
        self._leadership = leadership

    async def run(self) -> None:
        """Sweep for ever, while this worker leads."""
        seconds = self._lease.seconds / ELECTIONS_A_LEASE
        await while_leading(self._leadership, self.sweep, seconds=seconds, missed="sweep_missed")

    async def sweep(self) -> None:
        """Sweep once. The statement tests that this worker is steady: only then it declares deaths.

        Raises:
            StoreError: the database did not answer; the next sweep goes on.

        """
        worker_id = self._lease.worker_id
        if worker_id is None:
            return
        for lost in await self._workers.declare_dead(worker_id, self._lease.duration):
            _log.warning("worker_lost", lost_worker_id=str(lost))
        while swept := await self._workers.sweep(rows=_ROWS):
            for ended in swept:
                level = _log.error if ended.event is Event.ABANDON else _log.warning
                level(
                    "task_swept",
                    task_id=str(ended.id),
                    outcome=str(ended.event),
                    lost_count=ended.lost_count,
                    lost_worker_id=str(ended.worker_id),
                )
