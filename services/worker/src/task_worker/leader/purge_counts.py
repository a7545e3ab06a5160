"""Deletes counts of failures and of activity, and pauses that are over, when they are two weeks old."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from task_contracts import limits
from task_store import Activities, BatchLimit, Failures, Pauses
from task_worker.leader.batches import in_batches
from task_worker.leader.election import Leadership
from task_worker.leader.while_leading import while_leading

_EVERY_SECONDS = 600.0
_FIRST_SECONDS = 30.0
_ROWS = 1_000
_AGE = timedelta(days=limits.COUNT_DAYS)


class PurgeCounts:
    """Purges every ten minutes, as `Purge` does for tasks."""

    def __init__(self, failures: Failures, activities: Activities, pauses: Pauses, leadership: Leadership) -> None:
        self._leadership = leadership
        self._failures, self._failure_limit = failures, BatchLimit(_ROWS)
        self._activities, self._activity_limit = activities, BatchLimit(_ROWS)
        self._pauses, self._pause_limit = pauses, BatchLimit(_ROWS)

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
        await _forget_all(self._failures.forget, self._failure_limit)
        await _forget_all(self._activities.forget, self._activity_limit)
        await _forget_all(self._pauses.forget, self._pause_limit)


async def _forget_all(forget: Callable[..., Awaitable[Sequence[object]]], limit: BatchLimit) -> None:
    async for _ in in_batches(limit, lambda rows: forget(_AGE, rows=rows)):
        pass
