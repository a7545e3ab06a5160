"""REJECT: ends, as FAILED, tasks whose type no worker of their queue offers or has offered for 7 days."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from task_contracts import REJECTED_FAILURE
from task_runtime import get_logger
from task_store import BatchLimit, ScanPace, Workers
from task_worker.failure_counts import CountFailure, count_nothing
from task_worker.leader.batches import in_batches
from task_worker.leader.election import Leadership
from task_worker.leader.while_leading import while_leading
from task_worker.lease.lease import Lease

_log = get_logger(__name__)
_ROWS = 500
_TYPES_SHOWN = 5


class Reject:
    """Looks once a lease. Which tasks are rejected is decided by the statement (`task_store/_statements/reject.py`).

    Where that is slow (an old snapshot keeps dead entries in the index of waiting tasks), it takes a twentieth of the
    time, and comes once a minute at least.
    """

    def __init__(
        self, workers: Workers, lease: Lease, leadership: Leadership, on_failure: CountFailure = count_nothing
    ) -> None:
        self._workers = workers
        self._lease = lease
        self._leadership = leadership
        self._on_failure = on_failure
        self._limit = BatchLimit(_ROWS)
        self._pace = ScanPace()

    async def run(self) -> None:
        """Reject for ever, while this worker leads."""
        lease = self._lease.seconds
        await while_leading(self._leadership, self.reject, seconds=lease, first_seconds=lease, missed="reject_missed")

    async def reject(self) -> None:
        """Reject all that there are now, unless it is too early for the next look.

        Raises:
            StoreError: the database did not answer; the next look goes on, with fewer tasks in a statement.

        """
        if not self._pace.is_due:
            return
        duration = self._lease.duration
        with self._pace.measured():
            async for rejected in in_batches(self._limit, lambda rows: self._workers.reject(duration, rows=rows)):
                self._tell(rejected)

    def _tell(self, rejected: Sequence[tuple[UUID, str]]) -> None:
        """Count them as one kind and log one line: callers choose the types, and may send any number of them."""
        for task_id, type_ in rejected:
            self._on_failure(REJECTED_FAILURE, f"no worker of its queue offers the type {type_}", task_id)
        types = sorted({type_ for _, type_ in rejected})
        _log.warning("tasks_rejected", tasks=len(rejected), types=types[:_TYPES_SHOWN], task_id=str(rejected[-1][0]))
