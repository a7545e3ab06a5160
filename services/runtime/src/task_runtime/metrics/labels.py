"""Bounds what labels may hold, so that no caller can make series without end.

**Invariants**

- A type is a label only while a live worker offers it, and only the first `TYPES_MAX` of a process ever are.
- Names of queues are bounded too, although they come from settings.
"""

from __future__ import annotations

from collections.abc import Iterable

from task_runtime.metrics.names import OTHER

TYPES_MAX = 200
QUEUES_MAX = 50


class Labels:
    """The labels that a process has used so far."""

    def __init__(self) -> None:
        self._offered_by: dict[str, frozenset[str]] = {}
        self._offered: frozenset[str] = frozenset()
        self._types: set[str] = set()
        self._queues: set[str] = set()

    def offer(self, source: str, types: Iterable[str]) -> None:
        """Note which types are offered, as `source` knows it; they replace those that it named before."""
        self._offered_by[source] = frozenset(types)
        self._offered = frozenset().union(*self._offered_by.values())

    def type(self, name: str) -> str:
        """Return the label of a type."""
        return _bounded(name, self._types, TYPES_MAX) if name in self._offered else OTHER

    def queue(self, name: str) -> str:
        """Return the label of a queue."""
        return _bounded(name, self._queues, QUEUES_MAX)


def _bounded(name: str, seen: set[str], most: int) -> str:
    if name in seen:
        return name
    if len(seen) >= most:
        return OTHER
    seen.add(name)
    return name
