"""The versions of the tasks that were read of late, for those who watch by a filter. Bounded."""

from __future__ import annotations

from uuid import UUID

from task_store import UNKNOWN_VERSION

_MOST = 200_000
"""More than can end in the seconds for which a scan looks back. An id with its version takes some 150 bytes."""


class Versions:
    """Remembers versions by id; those that were not noted for longest are forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._by_id: dict[UUID, int] = {}

    def __getitem__(self, task_id: UUID) -> int:
        return self._by_id.get(task_id, UNKNOWN_VERSION)

    def note(self, task_id: UUID, version: int) -> int:
        """Remember a version, and return the one remembered before."""
        before = self._by_id.pop(task_id, UNKNOWN_VERSION)
        self._by_id[task_id] = version
        if len(self._by_id) > self._most:
            del self._by_id[next(iter(self._by_id))]
        return before

    def clear(self) -> None:
        """Forget all."""
        self._by_id.clear()
