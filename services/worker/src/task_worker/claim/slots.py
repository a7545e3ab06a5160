"""How many tasks this worker may run at once."""

from __future__ import annotations

import asyncio

UNRECORDED_MAX = 200
"""Outcomes that may wait to be recorded before nothing more is claimed: a slow database slows the worker down."""


class Slots:
    """Counts the slots: taken with a claim, free again once the code has ended."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._running = 0
        self._unrecorded = 0
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many tasks may be claimed now."""
        return self.capacity - self._running if self._unrecorded < UNRECORDED_MAX else 0

    def take(self) -> None:
        """Use one slot."""
        self._running += 1

    def code_ended(self) -> None:
        """Free the slot; the outcome has yet to be recorded."""
        self._running -= 1
        self._unrecorded += 1
        self._freed.set()

    def recorded(self) -> None:
        """Count one outcome as recorded or dropped."""
        self._unrecorded -= 1
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
