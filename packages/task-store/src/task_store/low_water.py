"""Where the scans of a queue may begin: the low-water time of each lane. Pure but for the clock of its pace.

An old snapshot (a backup, a forgotten BEGIN, a standby with hot_standby_feedback) keeps dead entries at the head of
every index of waiting tasks, and a scan from the beginning walks them all (measured: a mark of 8 ms takes 400 ms after
200,000 tasks). A scan from the beginning is right whatever has happened, so it stays the rule while it is cheap. When
it is not, scans begin at the low-water time of their lane, and the whole is scanned now and then beside them.

**Invariants**

- A task that an earlier scan saw waiting lies at or above the low-water time of its lane.
- A task that becomes visible with a due_at below it (a late commit, a failover) waits for the next whole scan: a
  minute, or 20 times as long as a whole scan takes, whichever is shorter.
- A lane without a low-water time is read by whole scans alone, which are due at once while there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

from task_store.records import Lane
from task_store.scan_pace import ScanPace

_SLACK = timedelta(seconds=3)
"""How late a task may become visible: a statement is given up after so long."""
BEGINNING = datetime.min.replace(tzinfo=UTC)


class LowWater:
    """The low-water times of the lanes that one loop scans, by the database's clock.

    Args:
        pace: says when a scan from the beginning is slow, and how often it is made then.

    """

    def __init__(self, pace: ScanPace | None = None) -> None:
        self._pace = pace or ScanPace()
        self._since: dict[Lane, datetime] = {}

    @property
    def is_needed(self) -> bool:
        """Whether a scan from the beginning was too slow lately."""
        return not self._pace.is_cheap

    def reset(self) -> None:
        """Forget everything: somebody else has scanned since."""
        self._since.clear()
        self._pace.took(0)

    def forget(self, lanes: Iterable[Lane]) -> None:
        """Forget these lanes: tasks became visible in them that are due for long."""
        for lane in lanes:
            self._since.pop(lane, None)

    def readable(self, lanes: Iterable[Lane]) -> dict[Lane, datetime]:
        """Return the lanes that a scan may read now, and from when on."""
        if not self.is_needed:
            return dict.fromkeys(lanes, BEGINNING)
        return {lane: self._since[lane] for lane in lanes if lane in self._since}

    def is_whole_due(self, lanes: Iterable[Lane]) -> bool:
        """Return whether it is time for a whole scan."""
        if not self.is_needed:
            return False
        if all(lane in self._since for lane in lanes):
            return self._pace.is_due
        return self._pace.seconds_since >= self._pace.seconds  # in a hurry, but no more than half of the time

    def scanned(self, seconds: float, seen: Mapping[Lane, datetime | None], now: datetime) -> None:
        """Note what a scan saw.

        Args:
            seconds: how long it took.
            seen: for each lane, the due_at from which on it may hold waiting tasks; None if none was left there.
            now: the time of the scan.

        """
        latest = now - _SLACK
        for lane, due_at in seen.items():
            self._since[lane] = latest if due_at is None else min(due_at, latest)
        if seconds >= self._pace.cheap_seconds:
            self._pace.became_slow()

    def whole_scan(self) -> AbstractContextManager[None]:
        """Note how long the whole scan within takes, answered or not."""
        return self._pace.measured()

    def unanswered(self) -> None:
        """Note that a scan got no answer in time."""
        self._pace.became_slow()
