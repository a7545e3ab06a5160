"""Finds what has ended of late, for those who watch by a filter: of a lost signal nothing else tells.

**Invariants**

- Each scan begins `SLACK` before the last complete one did, since a statement may commit later than its time, and a
  clock may be set back. So what ends is found, once it is visible.
- A scan that was cut goes on where it was cut: where more ends than one look reads, it comes later, but is not lost.
- The first scan finds nothing: what has ended before it is no news.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

from task_api.watch.versions import Versions
from task_store import FIRST_ID, Changes

SLACK = timedelta(seconds=10)
"""Longer than a statement may take."""
_ROWS = 2_000
"""For one statement."""
_PAGES = 10
"""Statements of one look."""


class FinishedScan:
    """Looks for tasks that have ended and were not seen at that version."""

    def __init__(self, changes: Changes, seen: Versions, *, rows: int = _ROWS, pages: int = _PAGES) -> None:
        self._changes = changes
        self._seen = seen
        self._rows = rows
        self._pages = pages
        self.reset()

    def reset(self) -> None:
        """Begin anew: nobody watches."""
        self.complete_at = float("-inf")
        """When the last complete scan began (monotonic)."""
        self._complete_until: datetime | None = None
        self._began: datetime | None = None
        self._began_at = float("-inf")
        self._position: tuple[datetime, UUID] | None = None

    async def look(self) -> AsyncIterator[list[UUID]]:
        """Return the ids of tasks that have ended and are to be read, page by page.

        Raises:
            StoreError: the next look goes on where this one was.

        """
        is_first = self._complete_until is None
        if self._position is None:
            last = self._complete_until or (await self._changes.read({})).now
            self._position = last - SLACK, FIRST_ID
            self._began_at, self._began = time.monotonic(), None
        pages = 0
        while is_first or pages < self._pages:
            pages += 1
            now, tasks = await self._changes.finished(*self._position, rows=self._rows)
            self._began = self._began or now
            if is_first:
                for task in tasks:
                    self._seen.note(task.id, task.version)
            else:
                yield [task.id for task in tasks if self._seen[task.id] != task.version]
            if len(tasks) < self._rows:
                self._complete_until, self.complete_at, self._position = self._began, self._began_at, None
                return
            self._position = tasks[-1].finished_at, tasks[-1].id
