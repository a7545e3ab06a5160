"""Signals on their way out: what says the same is said once.

**Invariants**

- `add` costs two look-ups, whoever calls it and however often: it is on the way of every commit.
- What waits is bounded; what comes on top is dropped, for a signal may be lost.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from task_contracts import Signal, SignalKind

WAITING_IDS_MAX = 10_000
"""For each kind and queue."""
SIGNAL_IDS_MAX = 500
"""In one signal, so that its body stays small."""


class SignalBuffer:
    """Gathers signals until they are taken: one for each kind and queue, with the ids of all."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[SignalKind, str | None], dict[UUID, None]] = {}
        self._has_some = asyncio.Event()

    def add(self, signal: Signal) -> None:
        """Have `signal` go out with the next taking."""
        ids = self._waiting.setdefault((signal.kind, signal.queue), {})
        if signal.ids and len(ids) < WAITING_IDS_MAX:
            ids.update(dict.fromkeys(signal.ids))
        self._has_some.set()

    def take(self) -> list[Signal]:
        """Return what waits, and keep nothing."""
        waiting, self._waiting = self._waiting, {}
        self._has_some.clear()
        return [
            Signal(kind=kind, queue=queue, ids=part)
            for (kind, queue), ids in waiting.items()
            for part in _parts(tuple(ids))
        ]

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._has_some.wait()


def _parts(ids: tuple[UUID, ...]) -> list[tuple[UUID, ...]]:
    return [ids[at : at + SIGNAL_IDS_MAX] for at in range(0, len(ids), SIGNAL_IDS_MAX)] or [()]
