"""Warns of handlers that keep a slot while they wait for another task.

Where all slots are kept by such handlers, the tasks that they wait for find none: nothing ends until the timeouts. The
last of them begins to wait when no slot is free, so that moment is looked at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from task_runtime import get_logger

_log = get_logger(__name__)
_EVERY_SECONDS = 600.0


class WaitWarnings:
    """Logs `handler_waits_for_task`, for each type at most every ten minutes, if no slot is free.

    Args:
        free_slots: returns how many tasks may be claimed now; 0 in a handler's own process, which does not know.
        clock: returns the seconds of a clock that is never set back.

    """

    def __init__(self, free_slots: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._free_slots = free_slots
        self._clock = clock
        self._warned_at: dict[str, float] = {}

    def handler_waits(self, type_: str, queue: str) -> None:
        """Note that a handler of `type_`, for a task of `queue`, begins to wait for another task."""
        now = self._clock()
        if self._free_slots() > 0 or now < self._warned_at.get(type_, -math.inf) + _EVERY_SECONDS:
            return
        self._warned_at[type_] = now
        _log.warning("handler_waits_for_task", type=type_, queue=queue)
