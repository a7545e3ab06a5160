"""How often a scan is repeated that may have become slow. Pure but for a clock.

An old snapshot keeps dead entries in an index, and a scan walks them all: what took 1 ms may take seconds, for as long
as the snapshot lives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SHARE = 20
"""A slow scan takes up to one part in so many of the time."""
_LONGEST_PAUSE_SECONDS = 60.0


class ScanPace:
    """Each time while the scan is cheap; else a twentieth of the time, and at least once a minute, which wins.

    Args:
        cheap_seconds: a scan that takes as long as this, or longer, is slow.
        longest_pause_seconds: the minute, for what must come at least so often.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        cheap_seconds: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
        *,
        longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS,
    ) -> None:
        self.cheap_seconds = cheap_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._clock = clock
        self._seconds = 0.0
        self._ended_at = -math.inf
        self.is_cheap = True
        """Whether the scan was cheap when it was last made."""

    @property
    def pause_seconds(self) -> float:
        """How long to wait between the end of a scan and the next one."""
        return 0.0 if self.is_cheap else min(self._longest_pause_seconds, (_SHARE - 1) * self._seconds)

    @property
    def seconds(self) -> float:
        """How long the last scan took."""
        return self._seconds

    @property
    def seconds_since(self) -> float:
        """How long ago the last scan ended."""
        return self._clock() - self._ended_at

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return self.seconds_since >= self.pause_seconds

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Note how long the scan within takes, answered or not."""
        began_at = self._clock()
        try:
            yield
        finally:
            self.took(self._clock() - began_at)

    def took(self, seconds: float) -> None:
        """Note a scan that has just ended, answered or not, and how long it took."""
        self._seconds, self._ended_at = seconds, self._clock()
        self.is_cheap = seconds < self.cheap_seconds

    def became_slow(self) -> None:
        """Note that the scan is slow: a part of it was, or got no answer."""
        self.is_cheap = False
