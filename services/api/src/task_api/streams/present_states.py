"""Reads what matches a filter now, once for all streams that ask for it at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from task_store import Changes, PresentTasks, TaskFilter

STATES_MAX = 1_000
"""Tasks whose present state a stream begins with."""


@dataclass(slots=True, eq=False)
class _Asked:
    since: datetime
    found: PresentTasks | None = None


class PresentStates:
    """Reads one filter at a time, so that streams that begin together leave connections to others."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._asked: dict[TaskFilter, _Asked] = {}
        self._turn = asyncio.Lock()

    async def read(self, wanted: TaskFilter, since: datetime) -> PresentTasks:
        """Return the states of up to `STATES_MAX` matching tasks that have not ended, or have since then or before.

        Raises:
            StoreError: the database could not be read.

        """
        asked = self._asked.setdefault(wanted, _Asked(since))
        asked.since = min(asked.since, since)
        try:
            async with self._turn:
                if asked.found is None:
                    self._leave(wanted, asked)  # whoever asks from now on asks anew
                    asked.found = await self._changes.present(wanted, asked.since, items=STATES_MAX)
                return asked.found
        finally:
            self._leave(wanted, asked)

    def _leave(self, wanted: TaskFilter, asked: _Asked) -> None:
        if self._asked.get(wanted) is asked:
            del self._asked[wanted]
