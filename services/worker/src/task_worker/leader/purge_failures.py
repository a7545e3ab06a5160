"""Deletes counts of failures that are two weeks old."""

from __future__ import annotations

from datetime import timedelta

from task_contracts import limits
from task_store import BatchLimit, Failures
from task_worker.leader.batches import in_batches
from task_worker.leader.election import Leadership
from task_worker.leader.while_leading import while_leading

_EVERY_SECONDS = 600.0
_FIRST_SECONDS = 30.0
_ROWS = 1_000
_AGE = timedelta(days=limits.FAILURE_DAYS)


class PurgeFailures:
    """Purges every ten minutes, as `Purge` does for tasks."""

    def __init__(self, failures: Failures, leadership: Leadership) -> None:
        self._failures = failures
        self._leadership = leadership
        self._limit = BatchLimit(_ROWS)

    async def run(self) -> None:
        """Purge for ever, while this worker leads."""
        await while_leading(
            self._leadership,
            self.purge,
            seconds=_EVERY_SECONDS,
            first_seconds=_FIRST_SECONDS,
            missed="purge_missed",
        )

    async def purge(self) -> None:
        """Purge all that there is now, in small statements.

        Raises:
            StoreError: the database did not answer; the next purge goes on.

        """
        async for _ in in_batches(self._limit, lambda rows: self._failures.forget(_AGE, rows=rows)):
            pass
