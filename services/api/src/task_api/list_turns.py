"""Gives reads of many rows a share of the database connections, so that they never keep out the other calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ListTurns:
    """How many lists may be read at once: two of five connections, at least one. The others wait for their turn.

    Args:
        connections: how many there are for all callers.
        wait_seconds: how long a list waits for its turn.

    """

    def __init__(self, connections: int, wait_seconds: float) -> None:
        self.count = max(1, connections * 2 // 5)
        self._free = asyncio.Semaphore(self.count)
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, in the order of asking, and have it until the block ends.

        Raises:
            TimeoutError: it did not come in time.

        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise TimeoutError("other lists are being read") from None
        try:
            yield
        finally:
            self._free.release()
