"""The sweep: declares expired workers dead, and brings back the tasks of dead workers.

**Invariants**

- It looks for tasks of dead workers as often as the election is held, since a claim may commit just after its worker
  was declared dead. Where that is slow (an old snapshot keeps dead entries in the index of running tasks), it takes a
  twentieth of the time, and comes once a minute at least.
- However slow it is, it comes at once after a worker was declared dead, and again until it was answered.
"""

from __future__ import annotations

from task_contracts import ErrorCode, FailureKind
from task_contracts.lifecycle import WORKER_LOST_MESSAGE, Event
from task_runtime import NO_METER, Meter, get_logger
from task_store import BatchLimit, ScanPace, Workers
from task_worker.failure_counts import CountFailure, count_nothing
from task_worker.leader.batches import in_batches
from task_worker.leader.election import ELECTIONS_A_LEASE, Leadership
from task_worker.leader.while_leading import while_leading
from task_worker.lease.lease import Lease

_log = get_logger(__name__)
_ROWS = 500


class Sweep:
    """Sweeps six times a lease. Two leaders at once do no harm: each row is locked.

    Args:
        workers: the statements.
        slow: the same with a long deadline: to look for tasks where that is slow.
        lease, leadership: of this worker.
        on_failure: is told of each task that has lost too many workers.
        meter: told of lost workers.

    """

    def __init__(
        self,
        workers: Workers,
        slow: Workers,
        lease: Lease,
        leadership: Leadership,
        on_failure: CountFailure = count_nothing,
        meter: Meter = NO_METER,
    ) -> None:
        self._workers = workers
        self._slow = slow
        self._lease = lease
        self._leadership = leadership
        self._on_failure = on_failure
        self._meter = meter
        self._limit = BatchLimit(_ROWS)
        self._pace = ScanPace()
        self._has_lost = False

    async def run(self) -> None:
        """Sweep for ever, while this worker leads."""
        seconds = self._lease.seconds / ELECTIONS_A_LEASE
        await while_leading(self._leadership, self.sweep, seconds=seconds, missed="sweep_missed")

    async def sweep(self) -> None:
        """Sweep once. The statement tests that this worker is steady: only then it declares deaths.

        Raises:
            StoreError: the database did not answer; the next sweep goes on, with fewer tasks in a statement.

        """
        worker_id = self._lease.worker_id
        if worker_id is None:
            return
        for lost in await self._workers.declare_dead(worker_id, self._lease.duration):
            _log.warning("worker_lost", lost_worker_id=str(lost.id), host=lost.host, pid=lost.pid)
            self._meter.worker_lost()
            self._has_lost = True
        if self._has_lost or self._pace.is_due:
            await self._bring_back(self._workers if self._pace.is_cheap else self._slow)
            self._has_lost = False

    async def _bring_back(self, workers: Workers) -> None:
        with self._pace.measured():
            dead = await workers.dead_holders()
        if not dead:
            return
        async for swept in in_batches(self._limit, lambda rows: workers.sweep(dead, rows=rows)):
            for ended in swept:
                if ended.event is Event.ABANDON:
                    kind = FailureKind(ended.type, ErrorCode.WORKER_LOST)
                    self._on_failure(kind, WORKER_LOST_MESSAGE, ended.id)
                level = _log.error if ended.event is Event.ABANDON else _log.warning
                level(
                    "task_swept",
                    task_id=str(ended.id),
                    outcome=str(ended.event),
                    lost_count=ended.lost_count,
                    lost_worker_id=str(ended.worker_id),
                )
