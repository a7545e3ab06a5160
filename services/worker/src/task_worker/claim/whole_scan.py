"""Looks at the whole table now and then, while the poll reads only the later part of it.

The poll reads from the beginning as long as that is cheap; an old snapshot ends that (`task_store.low_water` says why).
Then this finds, beside the claims, what became visible below the poll's low-water times.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NoReturn

from task_runtime import get_logger
from task_store import Claims, StoreError
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots

_log = get_logger(__name__)
_EVERY_SECONDS = 1.0


class WholeScan:
    """Hands what it finds to the claiming loop, which claims it by its ids before anything else.

    Args:
        claims: the statements.
        buffer: of the claiming loop.
        slots: of this worker; it looks for no more tasks than there are free ones.
        overdue: how long a task must have been due.

    """

    def __init__(self, claims: Claims, buffer: PrefetchBuffer, slots: Slots, overdue: timedelta) -> None:
        self._claims = claims
        self._buffer = buffer
        self._slots = slots
        self._overdue = overdue

    async def run(self) -> NoReturn:
        """Scan for ever, when it is time."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            if self._claims.is_whole_due and (slots := self._slots.free):
                try:
                    self._buffer.put_first(await self._claims.find_in_whole(slots=slots, overdue=self._overdue))
                except StoreError as error:
                    _log.warning("whole_scan_missed", reason=str(error), by="poll")
