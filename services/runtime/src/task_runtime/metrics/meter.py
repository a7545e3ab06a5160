"""What the parts of a worker tell beside `observers`: sizes of statements, and what should be rare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from task_contracts.lifecycle import Event
from task_runtime.observers import Kind, Observer


class Batched(StrEnum):
    """The statements whose size is measured."""

    CLAIM = "claim"
    RECORD = "record"
    DISPATCH = "dispatch"


class SlotCounts(NamedTuple):
    """The slots of a worker: those that run code, those that are free, and those that may not be used now."""

    running: int
    free: int
    held_back: int


class WorkerState(Protocol):
    """What a worker is now. Read from another thread at each scrape: plain reads, no statement, and no lock."""

    @property
    def slots(self) -> SlotCounts:
        """Its slots."""

    @property
    def lease_seconds(self) -> float:
        """How long its lease lasts once it is renewed."""

    @property
    def lease_remaining_seconds(self) -> float:
        """How long its lease lasts from now; 0 without one."""

    @property
    def is_leading(self) -> bool:
        """Whether it leads."""

    @property
    def reaches_broker(self) -> bool:
        """Whether it reaches the broker."""

    @property
    def reaches_database(self) -> bool:
        """Whether the database answered when it was last asked."""


class QueueFigures(Protocol):
    """A row of the table `queue_now`."""

    @property
    def queue(self) -> str:
        """The queue."""

    @property
    def priority(self) -> str:
        """The priority."""

    @property
    def waiting(self) -> int:
        """How many tasks are due and have not begun."""

    @property
    def oldest_due_at(self) -> datetime | None:
        """Since when the oldest of them has been due; None if there is none."""

    @property
    def running(self) -> int:
        """How many tasks run."""


class Meter(Observer, Protocol):
    """Counts for one worker. Its methods are called on the event loop: they are quick and never raise."""

    def offer(self, source: str, types: Iterable[str]) -> None:
        """Note which types live workers offer, as `source` knows it: these alone are labels."""

    def show_queues(self, now: datetime, figures: Sequence[QueueFigures]) -> None:
        """Show these rows of `queue_now`, read at `now`, as long as this worker leads."""

    def watch(self, state: WorkerState) -> None:
        """Show this worker from now on, instead of an earlier one of this process."""

    def batch(self, statement: Batched, items: int) -> None:
        """Count a statement of so many items."""

    def poll_claimed(self, tasks: int) -> None:
        """Count tasks that were claimed from the table."""

    def second_run(self) -> None:
        """Count an attempt of a task of which an earlier attempt was lost."""

    def late_write_refused(self) -> None:
        """Count a write of an attempt that had lost its task."""

    def worker_lost(self) -> None:
        """Count a worker that this one declared dead as the leader."""

    def export_failed(self) -> None:
        """Count a batch of spans that the collector did not take. Safe from any thread."""


class NoMeter:
    """Counts nothing."""

    def happened(self, kind: Kind, event: Event, count: int) -> None:
        """Count nothing."""

    def started(self, kind: Kind, wait_seconds: float) -> None:
        """Count nothing."""

    def ended(self, kind: Kind, event: Event, run_seconds: float, total_seconds: float) -> None:
        """Count nothing."""

    def offer(self, source: str, types: Iterable[str]) -> None:
        """Note nothing."""

    def show_queues(self, now: datetime, figures: Sequence[QueueFigures]) -> None:
        """Show nothing."""

    def watch(self, state: WorkerState) -> None:
        """Show nothing."""

    def batch(self, statement: Batched, items: int) -> None:
        """Count nothing."""

    def poll_claimed(self, tasks: int) -> None:
        """Count nothing."""

    def second_run(self) -> None:
        """Count nothing."""

    def late_write_refused(self) -> None:
        """Count nothing."""

    def worker_lost(self) -> None:
        """Count nothing."""

    def export_failed(self) -> None:
        """Count nothing."""


NO_METER: Meter = NoMeter()
