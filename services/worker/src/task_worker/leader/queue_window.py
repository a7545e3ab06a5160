"""How much of each broker queue the leader fills, and how many ids a message there carries. Pure but for a clock.

A broker queue holds at most `WINDOW_MESSAGES` messages of `WINDOW_IDS` ids: the rest of a backlog rests in the table,
where a late cancel or change of priority still counts. A message carries about as many ids as one worker lately took
from the queue in 50 ms, so quick tasks travel in batches and slow ones alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from task_bus import BrokerQueue
from task_contracts import BackOff, Priority, limits
from task_store import DispatchQuota

WINDOW_MESSAGES = 200
WINDOW_IDS = 10_000
_SHARE_SECONDS = 0.05
_LOOK_AFTER_MESSAGES = 50
_LOOK_AGAIN = BackOff(first_seconds=0.5, longest_seconds=30)
"""Before the next look after one that got no answer. A round waits for its looks, so one broker queue that cannot be
asked (without a leader, say) would slow down all others."""
_MARK_IDS_MAX = 1_000
"""Ids that one statement marks in one broker queue."""
_ROUND_MESSAGES = 10
"""What one round publishes to one broker queue, times the weight of its priority."""


class QueueWindow:
    """The leader's view of one broker queue: what it published, and what it last saw to be ready there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = clock()
        self._looks_at = self._looked_at
        """No look before this time."""
        self._failed_looks = 0
        self._ready = WINDOW_MESSAGES  # until the first look: an earlier leader may have filled it
        self._ready_ids = 0
        self._messages = 0
        self._ids = 0
        self._size = 1

    @property
    def room(self) -> int:
        """How many more messages fit, as far as is known."""
        messages = WINDOW_MESSAGES - self._ready - self._messages
        ids = WINDOW_IDS - self._ready_ids - self._ids
        return max(0, min(messages, ids // self._size))

    @property
    def message_ids(self) -> int:
        """How many ids a message should carry, 1 to `limits.MESSAGE_IDS_MAX`."""
        return self._size

    @property
    def should_look(self) -> bool:
        """Whether to ask for the depth before more is published: it costs a lone task a round trip."""
        is_wanted = not self.room or self._messages >= _LOOK_AFTER_MESSAGES
        return is_wanted and self._clock() >= self._looks_at

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
        self._failed_looks = 0

    def look_failed(self) -> float:
        """Note that the broker did not say how many are ready; return after how many seconds to ask again."""
        self._failed_looks += 1
        pause = _LOOK_AGAIN.pause_seconds(self._failed_looks)
        self._looks_at = self._clock() + pause
        return pause


class QueueWindows:
    """The windows of all broker queues, and how much of each one round of dispatch may fill.

    Args:
        queues: those that exist.
        weights: turns of each priority, 1 or more. A round is shared by them: publishing for LOW must not let HIGH,
            which is taken faster, run dry. (`docs/decisions/0012-small-rounds.md` has the measurement.)

    """

    def __init__(self, queues: Sequence[str], weights: Mapping[Priority, int]) -> None:
        self._weights = weights
        self._windows = {BrokerQueue(queue, priority): QueueWindow() for queue in queues for priority in Priority}

    def __getitem__(self, queue: BrokerQueue) -> QueueWindow:
        return self._windows[queue]

    def reset(self) -> None:
        """Forget what was seen: another leader may have filled the broker queues since."""
        self._windows = {queue: QueueWindow() for queue in self._windows}

    def to_look_at(self) -> list[BrokerQueue]:
        """Return the broker queues whose depth is to be asked for."""
        return [queue for queue, window in self._windows.items() if window.should_look]

    def served(self, queues: Collection[str]) -> list[BrokerQueue]:
        """Return the broker queues of these queues, which live workers serve."""
        return [queue for queue in self._windows if queue.queue in queues]

    def quotas(self, queues: Collection[str]) -> list[DispatchQuota]:
        """Return how many ids this round may mark in each broker queue of these queues that has room."""
        return [
            DispatchQuota(queue.queue, queue.priority, ids)
            for queue in self.served(queues)
            if (ids := self._quota_ids(queue))
        ]

    def _quota_ids(self, queue: BrokerQueue) -> int:
        """Return a number in proportion to the weights, whatever a message carries."""
        window = self._windows[queue]
        largest = max(self._windows[BrokerQueue(queue.queue, priority)].message_ids for priority in Priority)
        one = min(_ROUND_MESSAGES * largest, _MARK_IDS_MAX // max(self._weights.values()))
        return min(window.room * window.message_ids, one * self._weights[queue.priority])
