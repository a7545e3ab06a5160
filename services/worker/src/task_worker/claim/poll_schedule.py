"""When the poll claims straight from the table. Pure but for its clock.

The poll needs no broker, no leader and no mode. With free slots and nothing delivered it runs every second, at once
again while it finds any, and less often while it finds nothing and the broker answers. While deliveries wait it gets
one pick in ten.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from task_contracts import BackOff
from task_worker.timings import PollTimings


class PollSchedule:
    """Decides at each pick whether it is the poll's turn."""

    def __init__(self, timings: PollTimings, clock: Callable[[], float] = time.monotonic) -> None:
        self._timings = timings
        self._clock = clock
        self._picks = 0
        self._back_off = BackOff(timings.interval_seconds, timings.longest_interval_seconds)
        self._idle_polls = 1
        self._next_at = clock() + timings.interval_seconds

    @property
    def seconds_left(self) -> float:
        """How long until the next poll if nothing is delivered before; 0 or more."""
        return max(0.0, self._next_at - self._clock())

    def is_due(self, *, is_busy: bool) -> bool:
        """Return whether this pick is the poll's. `is_busy`: deliveries wait; then each call counts as one pick."""
        if not is_busy:
            return self._clock() >= self._next_at
        self._picks += 1
        return self._picks % self._timings.busy_picks == 0

    def polled(self, found: int | None, *, reaches_broker: bool) -> None:
        """Note a poll that found so many tasks, or None if the database did not answer."""
        if found:
            self._idle_polls = 0
        elif found is not None and reaches_broker:
            self._idle_polls += 1
        else:
            self._idle_polls = 1
        pause = self._back_off.pause_seconds(self._idle_polls) if self._idle_polls else 0.0
        self._next_at = self._clock() + pause
