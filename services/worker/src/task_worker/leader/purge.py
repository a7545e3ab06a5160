"""PURGE: deletes tasks that ended long ago, workers that have long been dead, and types that none has offered since."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from task_runtime import get_logger
from task_store import BatchLimit, DatabaseUnavailableError, OldTask, StatementEndedError, Workers
from task_worker.leader.batches import in_batches
from task_worker.leader.election import Leadership
from task_worker.leader.while_leading import while_leading

_log = get_logger(__name__)
_EVERY_SECONDS = 600.0
_FIRST_SECONDS = 30.0
_ROWS = 1_000
_DEAD_WORKERS_AGE = timedelta(days=7)
_OFFERS_AGE = timedelta(days=14)
"""Above `limits.UNKNOWN_TYPE_DAYS`: until then a task may wait for a type that was offered."""


class Purge:
    """Purges every ten minutes.

    Args:
        workers: for the deletes.
        slow: the same with a long deadline: to look for tasks, and to delete what takes long by itself.
        leadership: of this worker.
        retention: None where tasks are kept for ever.

    """

    def __init__(self, workers: Workers, slow: Workers, leadership: Leadership, retention: timedelta | None) -> None:
        self._workers = workers
        self._slow = slow
        self._leadership = leadership
        self._retention = retention
        self._limit = BatchLimit(_ROWS)
        self._workers_limit = BatchLimit(_ROWS)
        self._offers_limit = BatchLimit(_ROWS)

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

        A task over which alone the server ends a statement rests: this purge goes past it, the next one tries again.

        Raises:
            StoreError: the database did not answer; the next purge goes on, with fewer tasks in a statement.

        """
        slow = self._slow
        async for _ in in_batches(self._workers_limit, lambda rows: slow.forget_dead(_DEAD_WORKERS_AGE, rows=rows)):
            pass
        async for _ in in_batches(self._offers_limit, lambda rows: slow.forget_offers(_OFFERS_AGE, rows=rows)):
            pass
        if self._retention is None:
            return
        purged, last = 0, None
        while found := await self._slow.old_tasks(self._retention, rows=_ROWS, after=last):
            last = found[-1]
            purged += await self._delete(deque(found), self._retention)
        if purged:
            _log.info("tasks_purged", tasks=purged)

    async def _delete(self, old: deque[OldTask], retention: timedelta) -> int:
        deleted = 0
        while old:
            fitting = self._limit.fitting(task.body_bytes for task in old)
            batch = [old.popleft() for _ in range(fitting)]
            try:
                deleted += await self._delete_batch(batch, retention)
            except StatementEndedError:
                if len(batch) > 1:
                    old.extendleft(reversed(batch))
                else:
                    _log.warning("task_rests", task_id=str(batch[0].id), statement="purge")
        return deleted

    async def _delete_batch(self, batch: Sequence[OldTask], retention: timedelta) -> int:
        workers = self._workers if len(batch) > 1 else self._slow
        try:
            deleted = await workers.purge(retention, [task.id for task in batch])
        except DatabaseUnavailableError:
            self._limit.unanswered(len(batch))
            raise
        self._limit.answered(len(batch))
        return deleted
