"""Counts what waits and runs in each queue, so that nobody counts the table of tasks for a request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, NoReturn

from task_contracts import Priority
from task_runtime import NO_METER, Meter, get_logger
from task_store import Activities, QueueCounts, ScanPace, StatementEndedError, StoreError
from task_worker.leader.election import Leadership

_log = get_logger(__name__)
_EVERY_SECONDS = 5.0


class QueueCounting:
    """Counts every five seconds, and where that is slow, for a twentieth of the time, however rare that makes it.

    Args:
        counts: the statements, on a connection of their own.
        activities: where it is read what was written.
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
        self._pace = ScanPace(longest_pause_seconds=math.inf)

    @property
    def pause_seconds(self) -> float:
        """How long to wait after the last count."""
        return max(_EVERY_SECONDS, self._pace.pause_seconds)

    async def run(self) -> NoReturn:
        """Count for ever, while this worker leads."""
        while True:
            await self._leadership.begun.wait()
            await self.count()
            await asyncio.sleep(self.pause_seconds)

    async def count(self) -> None:
        """Count once. What took too long keeps its last figures, with their time, and the rest is refreshed."""
        try:
            with self._pace.measured():
                await self._counts.write(await self._counted())
            if self._meter is not NO_METER:
                self._meter.show_queues(*await self._activities.queues_now())
        except StoreError as error:
            self._pace.took(0.0)  # an outage does not say what a count costs
            _log.info("queues_not_counted", reason=str(error))

    async def _counted(self) -> list[Mapping[str, Any]]:
        """Return the rows that are known, each with `running` None where that took too long.

        Raises:
            StoreError: the database did not answer at all.

        """
        counted: list[Mapping[str, Any]] = []
        running = await self._running()
        _, known = await self._activities.queues_now()
        queues = dict.fromkeys((*self._queues, *(one.queue for one in known)))  # one that was taken out has tasks still
        pairs = list(product(queues, Priority))
        with_waiting = await self._with_waiting(pairs)
        for queue, priority in pairs:
            try:
                is_any = (queue, priority) in with_waiting
                waiting = await self._counts.waiting(queue, priority) if is_any else _none_waiting(queue, priority)
            except StatementEndedError as error:
                _log.info("queue_not_counted", queue=queue, priority=str(priority), reason=str(error))
            else:
                runs = None if running is None else running.get((queue, str(priority)), 0)
                counted.append({**waiting, "running": runs})
        return counted

    async def _with_waiting(self, pairs: Collection[tuple[str, Priority]]) -> Collection[tuple[str, Priority]]:
        """Return of which any task waits: so what is idle costs one statement, however many queues there are."""
        try:
            return await self._counts.any_waiting(pairs)
        except StatementEndedError:
            return pairs  # each is tried by itself

    async def _running(self) -> Mapping[tuple[str, str], int] | None:
        try:
            return await self._counts.running()
        except StatementEndedError as error:
            _log.info("running_not_counted", reason=str(error))
            return None


def _none_waiting(queue: str, priority: Priority) -> Mapping[str, Any]:
    row = {"queue": queue, "priority": str(priority)}
    return {**row, "waiting": 0, "waiting_is_capped": False, "oldest_due_at": None}
