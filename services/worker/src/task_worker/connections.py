"""The connections of a worker to the database."""

from __future__ import annotations

import asyncio

from task_store import Database, OnChanged, OnHappened
from task_worker.settings import WorkerSettings
from task_worker.timings import WorkerTimings

_POOL_SIZE = 4
_SLOW_POOL_SIZE = 2
CONNECTIONS = _POOL_SIZE + _SLOW_POOL_SIZE + 3
"""How many connections a worker opens at most: the poll, the heartbeat and the counts of queues have one each."""


class WorkerDatabases:
    """A pool for the worker's loops, and a connection each for the poll and the heartbeat, which no loop can starve.

    `counting` is one connection for the leader's counts of queues, which thus keep nothing else waiting.
    `slow` is a pool of two for statements that may take long and that nothing waits for. Its connections are opened
    when they are needed. `on_changed` is told what either of the two pools has changed, and `on_happened` what is to be
    counted of it, on the event loop.
    """

    def __init__(
        self, settings: WorkerSettings, timings: WorkerTimings, *, on_changed: OnChanged, on_happened: OnHappened
    ) -> None:
        self._settings = settings
        deadline_seconds = timings.statement_seconds
        self.pool = self._open(
            "task-worker", _POOL_SIZE, deadline_seconds, on_changed=on_changed, on_happened=on_happened
        )
        self.poll = self._open(
            "task-worker-poll", 1, deadline_seconds, statement_timeout_seconds=timings.claim.poll.statement_seconds
        )
        self.slow = self._open(
            "task-worker-slow",
            _SLOW_POOL_SIZE,
            timings.slow_statement_seconds,
            on_changed=on_changed,
            on_happened=on_happened,
        )

        self.counting = self._open("task-worker-counting", 1, timings.count_seconds)

    def open_heartbeat(self) -> Database:
        """Open the heartbeat's connection, on its own event loop. The caller closes it."""
        return self._open("task-worker-heartbeat", 1, self._settings.lease_seconds / 6)

    async def aclose(self) -> None:
        """Close all but the heartbeat's connection. Errors are ignored."""
        opened = (self.pool, self.poll, self.slow, self.counting)
        await asyncio.gather(*(database.aclose() for database in opened), return_exceptions=True)

    def _open(
        self,
        name: str,
        pool_size: int,
        deadline_seconds: float,
        *,
        statement_timeout_seconds: float | None = None,
        on_changed: OnChanged | None = None,
        on_happened: OnHappened | None = None,
    ) -> Database:
        return Database(
            self._settings.database_url.get_secret_value(),
            pool_size=pool_size,
            deadline_seconds=deadline_seconds,
            statement_timeout_seconds=statement_timeout_seconds,
            application_name=name,
            on_changed=on_changed,
            on_happened=on_happened,
        )
