"""How many tasks this worker may run at once."""

from __future__ import annotations

import asyncio

UNRECORDED_MAX = 200
"""Outcomes that may wait to be recorded before nothing more is claimed: a slow database slows the worker down."""


class Slots:
    """Counts the slots: taken with a claim, free again once the code has ended.

    Args:
        capacity: how many tasks may run at once.
        max_payload_bytes: no slot is free while the payloads in flight, and the endings that wait to be recorded, are
            as large as this together. The task that reaches it still fits, so that one task always does.

    """

    def __init__(self, capacity: int, max_payload_bytes: int) -> None:
        self.capacity = capacity
        self._max_bytes = max_payload_bytes
        self._bytes = 0
        self._running = 0
        self._unrecorded = 0
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many tasks may be claimed now."""
        is_full = self._unrecorded >= UNRECORDED_MAX or self.free_payload_bytes <= 0
        return 0 if is_full else self.capacity - self._running

    @property
    def free_payload_bytes(self) -> int:
        """How large the payloads of the next tasks may be together; 0 or less while there is no room."""
        return self._max_bytes - self._bytes

    def take(self, payload_bytes: int) -> None:
        """Use one slot for a task with so large a payload."""
        self._running += 1
        self._bytes += payload_bytes

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

    async def wait_free(self, seconds: float) -> bool:
        """Wait up to `seconds` until a slot is free; return whether one is."""
        try:
            async with asyncio.timeout(seconds):
                while not self.free:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return self.free > 0
        return True
