"""What a worker is at a moment, for its metrics. Read from another thread: plain reads alone."""

from __future__ import annotations

from collections.abc import Callable

from task_runtime import SlotCounts
from task_worker.claim.slots import Slots
from task_worker.leader.leader import Leader
from task_worker.lease.lease import Lease


class PresentState:
    """The present state of one worker, out of its parts (`task_runtime.WorkerState`)."""

    def __init__(self, slots: Slots, lease: Lease, leader: Leader, reaches_broker: Callable[[], bool]) -> None:
        self._slots = slots
        self._lease = lease
        self._leader = leader
        self._reaches_broker = reaches_broker

    @property
    def slots(self) -> SlotCounts:
        """Its slots. They are never more than it has, although the counts may change between two reads."""
        running = min(self._slots.running, self._slots.capacity)
        free = min(self._slots.free, self._slots.capacity - running)
        return SlotCounts(running, free, self._slots.capacity - running - free)

    @property
    def lease_seconds(self) -> float:
        """How long its lease lasts once it is renewed."""
        return self._lease.seconds

    @property
    def lease_remaining_seconds(self) -> float:
        """How long its lease lasts from now; 0 without one."""
        return self._lease.remaining_seconds

    @property
    def is_leading(self) -> bool:
        """Whether it leads."""
        return self._leader.is_leading

    @property
    def reaches_broker(self) -> bool:
        """Whether it reaches the broker."""
        return self._reaches_broker()

    @property
    def reaches_database(self) -> bool:
        """Whether the database answered when it last asked who leads."""
        return self._leader.reaches_database
