"""What the parts of a worker tell beside `observers`: sizes of statements, and what should be rare."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol


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
    def lease_remaining_seconds(self) -> float:
        """How long its lease lasts; 0 without one."""

    @property
    def is_leading(self) -> bool:
        """Whether it leads."""

    @property
    def reaches_broker(self) -> bool:
        """Whether it reaches the broker."""

    @property
    def reaches_database(self) -> bool:
        """Whether the database answered when it was last asked."""


class Meter(Protocol):
    """Counts for one worker. Its methods are called on the event loop: they are quick and never raise."""

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


class NoMeter:
    """Counts nothing."""

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


NO_METER = NoMeter()
