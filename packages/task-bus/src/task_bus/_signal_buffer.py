"""Signals that wait to be sent, merged.

**Invariants**

- `add` costs two look-ups in dictionaries and never waits: it is called for every commit.
- The number of ids that wait is bounded. Further ones are dropped, since a signal may be lost.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from task_contracts import Signal, SignalKind

WAITING_IDS_MAX = 10_000
"""Ids that may wait, for each kind and queue."""
SIGNAL_IDS_MAX = 500
"""Ids in one signal, so that its body stays small."""


class SignalBuffer:
    """Collects signals until they are taken: those of one kind and queue become one, with the ids of all."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[SignalKind, str | None], dict[UUID, None]] = {}
        self._has_some = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether no signal waits."""
        return not self._waiting

    def add(self, signal: Signal) -> None:
        """Add `signal` to what the next `take` returns."""
        ids = self._waiting.setdefault((signal.kind, signal.queue), {})
        if signal.ids and len(ids) < WAITING_IDS_MAX:
            ids.update(dict.fromkeys(signal.ids))
        self._has_some.set()

    def take(self) -> list[Signal]:
        """Return the signals that wait, and empty the buffer. Many ids of a kind and queue make several signals."""
        waiting, self._waiting = self._waiting, {}
        self._has_some.clear()
        return [
            Signal(kind=kind, queue=queue, ids=part)
            for (kind, queue), ids in waiting.items()
            for part in _parts(tuple(ids))
        ]

    async def wait(self) -> None:
        """Wait until there is a signal to take."""
        await self._has_some.wait()


def _parts(ids: tuple[UUID, ...]) -> list[tuple[UUID, ...]]:
    return [ids[at : at + SIGNAL_IDS_MAX] for at in range(0, len(ids), SIGNAL_IDS_MAX)] or [()]
