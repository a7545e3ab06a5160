"""How much the leader has in a broker queue, and how many ids a message there should carry. Pure but for a clock.

A broker queue holds at most `WINDOW_MESSAGES` messages: the rest of a backlog rests in the table, where a late cancel
or change of priority still counts. A message carries about what one worker lately took from the queue in 20 ms, so
quick tasks travel in batches and slow ones alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from task_contracts import limits

WINDOW_MESSAGES = 200
_SHARE_SECONDS = 0.02
_LOOK_AFTER_MESSAGES = 50


class QueueWindow:
    """The leader's view of one broker queue: what it published, and what it last saw to be ready there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = clock()
        self._ready = WINDOW_MESSAGES  # until the first look: an earlier leader may have filled it
        self._ready_ids = 0
        self._messages = 0
        self._ids = 0
        self._size = 1

    @property
    def room(self) -> int:
        """How many more messages fit, as far as is known."""
        return max(0, WINDOW_MESSAGES - self._ready - self._messages)

    @property
    def message_ids(self) -> int:
        """How many ids a message should carry, 1 to `limits.MESSAGE_IDS_MAX`."""
        return self._size

    @property
    def should_look(self) -> bool:
        """Whether to ask for the depth before more is published: it costs a round trip on the way of a lone task."""
        return not self.room or self._messages >= _LOOK_AFTER_MESSAGES

    def published(self, ids: int) -> None:
        """Note a message of so many ids."""
        self._messages += 1
        self._ids += ids

    def looked(self, ready: int, workers: int) -> None:
        """Note how many messages are ready now, and how many workers (1 or more) share the queue."""
        now = self._clock()
        there = self._ready + self._messages
        ids = self._ready_ids + self._ids
        left = round(ids * min(1.0, ready / there)) if there else 0
        rate = (ids - left) / max(now - self._looked_at, 1e-3) / max(workers, 1)
        self._size = max(1, min(limits.MESSAGE_IDS_MAX, round(rate * _SHARE_SECONDS)))
        self._ready, self._ready_ids, self._messages, self._ids, self._looked_at = ready, left, 0, 0, now
