"""Remembers which tasks rest: those that fail alone in a statement over many rows are left out of the next ones.

A task rests once it has failed alone, after it failed before (alone or with others), if others were answered in
between. In an outage every task fails, and nothing is answered. An error's kind says less: a damaged row, a trigger and
a row that takes too long all fail differently.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

_MOST = 1_000


class Resting:
    """The tasks that rest now: at most 1,000, those that rest longest make room.

    Args:
        seconds: how long a task rests.
        clock: seconds that never go back.

    """

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end_by_id: dict[UUID, float] = {}  # in the order of their ends
        self._failed_at_by_id: dict[UUID, float] = {}
        self._answered_at = -math.inf

    def answered(self, ids: Iterable[UUID] = ()) -> None:
        """Note that the database has answered a statement, and forget that these tasks, which it was about, failed."""
        self._answered_at = self._clock()
        if self._failed_at_by_id:
            for task_id in ids:
                self._failed_at_by_id.pop(task_id, None)

    def failed(self, ids: Sequence[UUID]) -> bool:
        """Note that a statement over these tasks has failed; return whether it was over one alone that rests now."""
        now = self._clock()
        first = self._failed_at_by_id.get(ids[0], math.inf)
        if len(ids) == 1 and first < self._answered_at:
            del self._failed_at_by_id[ids[0]]
            _put(self._end_by_id, ids[0], now + self._seconds)
            return True
        for task_id in ids:
            if task_id not in self._failed_at_by_id:
                _put(self._failed_at_by_id, task_id, now)
        return False

    def ids(self) -> list[UUID]:
        """Return the tasks that rest, and forget those that have rested long enough."""
        now = self._clock()
        while self._end_by_id and (first := next(iter(self._end_by_id.items())))[1] <= now:
            del self._end_by_id[first[0]]
        return list(self._end_by_id)


def _put(times: dict[UUID, float], task_id: UUID, time_: float) -> None:
    times[task_id] = time_
    if len(times) > _MOST:
        del times[next(iter(times))]
