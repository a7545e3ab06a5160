"""Counts what waits and runs in each queue, so that nobody counts the table of tasks for a request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import product

from task_contracts import Priority
from task_runtime import NO_METER, Meter, get_logger
from task_store import Activities, QueueCounts, ScanPace, StoreError
from task_worker.leader.election import Leadership

_log = get_logger(__name__)
_EVERY_SECONDS = 5.0
_PURGE_EVERY = 720
"""Counts of activity that are too old are deleted at every so many looks: once an hour."""


class QueueCounting:
    """Counts every five seconds, and where that is slow, for a twentieth of the time.

    Args:
        counts: the statements, on a connection with a long deadline.
        activities: whose old rows are deleted.
        queues: those of the fleet.
        leadership: of this worker.
        meter: shown what was counted.

    """

    def __init__(
        self,
        counts: QueueCounts,
        activities: Activities,
        queues: Sequence[str],
        leadership: Leadership,
        meter: Meter = NO_METER,
    ) -> None:
        self._counts = counts
        self._activities = activities
        self._queues = tuple(queues)
        self._leadership = leadership
        self._meter = meter
        self._pace = ScanPace()
        self._looks = 0

    async def run(self) -> None:
        """Count for ever, while this worker leads."""
        while True:
            await self._leadership.begun.wait()
            with self._pace.measured():
                await self.count()
            await asyncio.sleep(max(_EVERY_SECONDS, self._pace.pause_seconds))

    async def count(self) -> None:
        """Count once. What had no answer keeps its last figures, with their time."""
        counted = []
        try:
            running = await self._counts.running()
            for queue, priority in product(self._queues, Priority):
                try:
                    waiting = await self._counts.waiting(queue, priority)
                except StoreError as error:
                    _log.info("queue_not_counted", queue=queue, priority=str(priority), reason=str(error))
                else:
                    counted.append({**waiting, "running": running.get((queue, str(priority)), 0)})
            await self._counts.write(counted)
            if self._meter is not NO_METER:
                self._meter.show_queues((await self._activities.queues_now())[1])
            if self._looks % _PURGE_EVERY == 0:
                await self._activities.forget()
            self._looks += 1
        except StoreError as error:
            _log.info("queues_not_counted", reason=str(error))
