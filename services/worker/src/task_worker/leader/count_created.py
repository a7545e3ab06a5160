"""Counts the tasks that `create_task()` has stored: no API saw them come."""

from __future__ import annotations

from task_store import Activities, BatchLimit, ScanPace
from task_worker.leader.batches import in_batches
from task_worker.leader.election import Leadership
from task_worker.leader.while_leading import while_leading

_EVERY_SECONDS = 10.0
_ROWS = 1_000


class CountCreated:
    """Looks every ten seconds; where that is slow, for a twentieth of the time. Two leaders count nothing twice."""

    def __init__(self, activities: Activities, leadership: Leadership) -> None:
        self._activities = activities
        self._leadership = leadership
        self._limit = BatchLimit(_ROWS)
        self._pace = ScanPace()

    async def run(self) -> None:
        """Count for ever, while this worker leads."""
        await while_leading(self._leadership, self.count, seconds=_EVERY_SECONDS, missed="created_not_counted")

    async def count(self) -> None:
        """Count all that there are now, unless it is too early for the next look.

        Raises:
            StoreError: the database did not answer; the next look goes on. What had no answer may stay uncounted.

        """
        if self._pace.is_due:
            with self._pace.measured():
                async for _ in in_batches(self._limit, lambda rows: self._activities.take_created(rows=rows)):
                    pass
