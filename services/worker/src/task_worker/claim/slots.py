"""How many tasks this worker may run at once, and none for a while after it could not begin the code of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from task_contracts import BackOff
from task_worker.waiting import wait_for_event

REST = BackOff(first_seconds=5, longest_seconds=60)
"""How long a worker claims nothing that has no files, pids or memory to begin code. Others may have what it lacks."""
UNRECORDED_MAX = 1_000
"""Outcomes that may wait to be recorded before nothing more is claimed: a slow database slows the worker down."""


class Slots:
    """Counts the slots: taken with a claim, free again once the code has ended.

    Args:
        capacity: how many tasks may run at once.
        max_payload_bytes: no slot is free while the payloads and checkpoints in flight, and the endings that wait to be
            recorded, are as large as this together. The task that reaches it still fits, so that one task always does.
        rest: how long no slot is free after code could not be begun, by how often that was so in succession.

    """

    def __init__(
        self,
        capacity: int,
        max_payload_bytes: int,
        rest: BackOff = REST,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self._max_bytes = max_payload_bytes
        self._bytes = 0
        self._running = 0
        self._unrecorded = 0
        self._freed = asyncio.Event()
        self._rest = rest
        self._clock = clock
        self._rests = 0
        self._rests_until = self._tries_until = self._forgets_at = float("-inf")

    @property
    def running(self) -> int:
        """How many run code."""
        return self._running

    @property
    def free(self) -> int:
        """How many tasks may be claimed now."""
        is_full = self._unrecorded >= UNRECORDED_MAX or self.free_payload_bytes <= 0
        if is_full or (now := self._clock()) < self._rests_until:
            return 0
        free = self.capacity - self._running
        return min(free, 1) if now < self._tries_until else free

    @property
    def free_payload_bytes(self) -> int:
        """How large the payloads of the next tasks may be together; 0 or less while there is no room."""
        return self._max_bytes - self._bytes

    def take(self, body_bytes: int) -> None:
        """Use one slot for a task with a payload and a checkpoint that are so large together."""
        self._running += 1
        self._bytes += body_bytes

    def code_ended(self) -> None:
        """Free the slot; the outcome has yet to be recorded."""
        self._running -= 1
        self._unrecorded += 1
        self._freed.set()

    def hold(self, ending_bytes: int) -> None:
        """Count the size of an ending, beside its payload, until it is recorded."""
        self._bytes += ending_bytes

    def recorded(self, held_bytes: int) -> None:
        """Count one outcome as recorded or dropped; its payload and its ending, so large, are no longer in flight."""
        self._unrecorded -= 1
        self._bytes -= held_bytes
        self._freed.set()

    def not_begun(self) -> float | None:
        """Let no slot be free for a while: the code of a task could not be begun. After that tasks are tried singly.

        Returns for how many seconds; None during such a rest, since those that fail together count once.
        """
        now = self._clock()
        if now < self._rests_until:
            return None
        self._rests = self._rests + 1 if now < self._forgets_at else 1
        seconds = self._rest.pause_seconds(self._rests)
        self._rests_until, self._tries_until = now + seconds, now + 2 * seconds
        self._forgets_at = self._rests_until + self._rest.longest_seconds
        return seconds

    async def wait_free(self, seconds: float) -> bool:
        """Wait up to `seconds` until a slot is free; return whether one is."""
        try:
            async with asyncio.timeout(seconds):
                while not self.free:
                    self._freed.clear()
                    rest_seconds = self._rests_until - self._clock()
                    await wait_for_event(self._freed, rest_seconds if rest_seconds > 0 else seconds)
        except TimeoutError:
            return self.free > 0
        return True
