"""The times by which a worker waits, retries and stops, by part. They are not settings; a test passes its own.

Times are in seconds unless a name says otherwise. What an operator may change is in `task_worker.settings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from task_contracts import BackOff
from task_runtime import RestartPolicy


@dataclass(frozen=True)
class PollTimings:
    """When the poll claims straight from the table."""

    overdue: timedelta = timedelta(seconds=2)
    """How long a task must have been due before the poll takes it: the broker is given that much time."""
    interval_seconds: float = 1.0
    """Between two polls with free slots and nothing delivered."""
    longest_interval_seconds: float = 5.0
    """What the interval grows to while the poll finds nothing and the broker answers."""
    busy_picks: int = 10
    """While deliveries wait, one pick in so many goes to the poll, so that a steady flow cannot hide a lost message."""
    statement_seconds: float = 0.25
    """After so long the server ends a statement of the poll."""


@dataclass(frozen=True)
class ClaimTimings:
    """How the claiming loop waits."""

    retry_seconds: float = 0.5
    """Before a claim without an answer is sent again, and before the lease is looked at again once it is over."""
    put_back_seconds: float = 1.0
    """With no free slot for so long, what was delivered goes back to the broker."""
    first_delivery_seconds: float = 0.1
    """How long the poll lets the first delivery to new consumers go first, which may be of a higher priority."""
    poll: PollTimings = PollTimings()


@dataclass(frozen=True)
class AttemptTimings:
    """How an attempt is stopped, and when it is tried again."""

    retry: BackOff = BackOff(first_seconds=2.0, longest_seconds=600.0, factor=3.0, jitter=1.0)
    """How long a task waits after a failure."""
    kill_grace_seconds: float = 5.0
    """Between SIGTERM and SIGKILL to a handler's process, if there is time for both."""
    process_start_seconds: float = 120.0
    """How long a handler's process may take to start and to load the handlers."""
    overdue_seconds: float = 5.0
    """After so long, code that was asked to stop and still runs is logged."""
    stop_seconds: float = 7.0
    """How long code that was asked to stop may take when the worker stops; above `kill_grace_seconds`."""


@dataclass(frozen=True)
class RecordTimings:
    """How outcomes and progress are written."""

    retry: BackOff = BackOff(first_seconds=0.1, longest_seconds=2.0)
    """How long to wait after an ending could not be written."""
    progress_seconds: float = 0.25
    """Between two writes of progress."""


@dataclass(frozen=True)
class DispatchTimings:
    """How the leader's dispatch waits."""

    publish_seconds: float = 5.0
    """How long the broker may take to confirm a message."""
    idle_seconds: float = 1.0
    """Before the table is looked at again without a wake-up."""
    full_seconds: float = 0.1
    """The same while a window is full: its messages keep the workers busy for seconds."""
    failed_seconds: float = 0.5
    """The same after the broker or the database has failed."""
    locked_seconds: float = 0.02
    """The same where something is due and was not marked: another transaction has it locked."""
    taken_seconds: float = 0.02
    """Before what this worker has taken for itself is looked at: a claim may not have got it."""
    offers_seconds: float = 5.0
    """How old the offers of the workers may be before they are read again."""


@dataclass(frozen=True)
class RecycleTimings:
    """How often it is checked whether a worker should be replaced."""

    check_seconds: float = 1.0
    """Between two looks at how many attempts have ended."""
    memory_seconds: float = 10.0
    """Between two looks at the memory: half to one and a half times as long, at random."""


@dataclass(frozen=True)
class WorkerTimings:
    """All of them."""

    claim: ClaimTimings = ClaimTimings()
    attempt: AttemptTimings = AttemptTimings()
    record: RecordTimings = RecordTimings()
    dispatch: DispatchTimings = DispatchTimings()
    restarts: RestartPolicy = RestartPolicy()
    """When a loop that died is started again, and when the worker gives up."""
    statement_seconds: float = 3.0
    """The deadline of a statement, connecting included."""
    slow_statement_seconds: float = 60.0
    """The same for what nothing waits for and may take long: an old snapshot (a backup) makes scans slow."""
    count_seconds: float = 5.0
    """The same for each count of what waits or runs: what takes longer keeps its last figures."""
    leave_seconds: float = 5.0
    """How long a worker that has drained may take to say so and to close what it has open."""
