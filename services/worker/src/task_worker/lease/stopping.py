"""Stops running tasks when the heartbeat reports a change: a cancel was requested, the lease was lost, a row is gone.

A cancel reaches a running task so: the API marks its row (`cancel_rerun.CANCEL`) and sends a signal; the heartbeat
reads the rows of this worker, at once or at its next beat; `reconcile` stops the attempt; its runner ends the code.

**Invariants**

- All of it runs on the event loop; the heartbeat's thread only schedules it.
- Reconciling stops attempts and gives rows back. It never starts anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from task_store import AttemptKey, HeldRow
from task_worker.lease.alive_file import AliveFile
from task_worker.lease.in_flight import Attempt, InFlight, StopReason


class LeaseCallbacks:
    """Acts on the attempts in flight when the lease or the rows of this worker change.

    Args:
        in_flight: of this worker.
        alive_file: is touched whenever the event loop answers.
        on_registered: called once this worker has a lease under a new id.
        release: gives back a row that this worker holds and does not run.

    """

    def __init__(
        self,
        in_flight: InFlight,
        alive_file: AliveFile,
        *,
        on_registered: Callable[[], None],
        release: Callable[[AttemptKey], None],
    ) -> None:
        self._in_flight = in_flight
        self._alive_file = alive_file
        self._on_registered = on_registered
        self._release = release

    def answered(self) -> None:
        """Touch the alive file: the event loop answers. Called thirty times a lease."""
        self._alive_file.touch()

    def registered(self) -> None:
        """Note that this worker has a lease, under a new id."""
        self._on_registered()

    def reconcile(self, asked_at: float, before: Iterable[Attempt], rows: Iterable[HeldRow]) -> None:
        """Bring what is in flight in line with the rows of this worker: arguments as for `InFlight.compare`."""
        differences = self._in_flight.compare(asked_at, before, rows)
        for attempt in differences.not_held:
            attempt.stop(StopReason.NOT_HELD)
        for attempt in differences.cancelled:
            attempt.stop(StopReason.CANCEL)
        for row in differences.unknown:
            self._release(row)

    def lease_over(self) -> None:
        """Stop everything: the lease was not renewed in time."""
        self._in_flight.stop_all(StopReason.LEASE_LOST)

    def found_dead(self) -> None:
        """Stop everything and write no ending: this worker was declared dead."""
        for attempt in self._in_flight.attempts():
            attempt.is_dropped = True
        self._in_flight.stop_all(StopReason.LEASE_LOST)
