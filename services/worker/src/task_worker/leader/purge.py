"""PURGE: deletes tasks that ended long ago, and the rows of workers that have long been dead."""

from __future__ import annotations

from datetime import timedelta

from task_runtime import get_logger
from task_store import Workers
from task_worker.leader.election import Leadership
from task_worker.leader.while_leading import while_leading

_log = get_logger(__name__)
_EVERY_SECONDS = 600.0
_FIRST_SECONDS = 30.0
_ROWS = 1_000
_DEAD_WORKERS_AGE = timedelta(days=7)


class Purge:
    """Purges every ten minutes. `retention` is None where tasks are kept for ever."""

    def __init__(self, workers: Workers, leadership: Leadership, retention: timedelta | None) -> None:
        self._workers = workers
        self._leadership = leadership
        self._retention = retention

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
        """Purge all that there is now, in small statements, so that no lock is held for long.

        Raises:
            StoreError: the database did not answer; the next purge goes on.

        """
        await self._workers.forget_dead(_DEAD_WORKERS_AGE)
        if self._retention is None:
            return
        purged = 0
        while deleted := await self._workers.purge(self._retention, rows=_ROWS):
            purged += deleted
        if purged:
            _log.info("tasks_purged", tasks=purged)
