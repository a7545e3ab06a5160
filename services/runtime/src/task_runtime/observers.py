"""Who is told of what happens to tasks: the counts of activity and the metrics. Both are told at one place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from task_contracts import Priority
from task_contracts.lifecycle import Event


class Kind(NamedTuple):
    """What counts are kept by."""

    queue: str
    priority: Priority
    type: str


class Observer(Protocol):
    """Counts what happens. Its methods are called on the event loop for every task: they are quick and never raise."""

    def happened(self, kind: Kind, event: Event, count: int) -> None:
        """Count tasks to which something has happened that ends no attempt of this process, CREATE too."""

    def started(self, kind: Kind, wait_seconds: float) -> None:
        """Count an attempt that began so long after its task was due."""

    def ended(self, kind: Kind, event: Event, run_seconds: float, total_seconds: float) -> None:
        """Count an attempt whose end was stored: how long its code ran, and how long ago its task was accepted."""


class Observers:
    """Tells several observers as if they were one."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def happened(self, kind: Kind, event: Event, count: int) -> None:
        """Count tasks to which something has happened that ends no attempt of this process, CREATE too."""
        for observer in self._observers:
            observer.happened(kind, event, count)

    def tell(self, kind: tuple[str, Priority, str], event: Event, count: int) -> None:
        """Count what the store tells (`task_store.OnHappened`)."""
        self.happened(Kind(*kind), event, count)

    def started(self, kind: Kind, wait_seconds: float) -> None:
        """Count an attempt that began so long after its task was due."""
        for observer in self._observers:
            observer.started(kind, wait_seconds)

    def ended(self, kind: Kind, event: Event, run_seconds: float, total_seconds: float) -> None:
        """Count an attempt whose end was stored: how long its code ran, and how long ago its task was accepted."""
        for observer in self._observers:
            observer.ended(kind, event, run_seconds, total_seconds)
