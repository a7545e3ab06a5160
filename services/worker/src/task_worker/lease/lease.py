"""The lease of this worker by its own clock: under which id it may act, and until when.

It only says when. Once `is_over`, the heartbeat asks running code to stop (`stopping.py`), and ends the process if code
still runs when the lease ends.

**Invariants**

- By this clock the lease never ends later than by the database's: it runs from before the renewal was sent.
  (One exception: on a machine that slept, the monotonic clock stood still, and code of a worker that was declared dead
  goes on until the next beat, a sixth of a lease at most. If sleep counted, each laptop that wakes would stop its
  tasks.)
- A sixth of the lease is spare: `is_over` turns true while the database still has the worker alive, so that its code
  can be stopped in time.
- An id that was found dead is never used again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

_SPARE = 1 / 6


class Lease:
    """Renewed by the heartbeat's thread, read on the event loop. Safe from both."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._guard = threading.Lock()
        self._worker_id: UUID | None = None
        self._ends_at = float("-inf")

    @property
    def duration(self) -> timedelta:
        """How long a renewal lasts."""
        return timedelta(seconds=self.seconds)

    @property
    def worker_id(self) -> UUID | None:
        """The id under which this worker acts; None before it is registered and after it was found dead."""
        return self._worker_id

    @property
    def is_valid(self) -> bool:
        """Whether new work may be started."""
        return self._worker_id is not None and not self.is_over

    @property
    def remaining_seconds(self) -> float:
        """How long the lease lasts; 0 without one."""
        return 0.0 if self._worker_id is None else max(0.0, self._ends_at - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether running work must stop: the lease was not renewed in time."""
        return self._clock() >= self._ends_at - self.spare_seconds

    @property
    def spare_seconds(self) -> float:
        """How long running work may take to stop once the lease `is_over`."""
        return self.seconds * _SPARE

    def begin(self, worker_id: UUID, sent_at: float) -> None:
        """Note that this worker was registered, by a statement sent at `sent_at` (of the same clock)."""
        with self._guard:
            self._worker_id, self._ends_at = worker_id, sent_at + self.seconds

    def renewed(self, sent_at: float) -> None:
        """Note that the lease was renewed, by a statement sent at `sent_at`."""
        with self._guard:
            self._ends_at = max(self._ends_at, sent_at + self.seconds)

    def end(self) -> None:
        """Note that this worker was found dead."""
        with self._guard:
            self._worker_id, self._ends_at = None, float("-inf")
