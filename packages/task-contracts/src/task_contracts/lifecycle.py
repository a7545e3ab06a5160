"""The life cycle of a task: one table of events, one table of columns.

The rest of the project is made from these tables: the WHERE guards and the CASE expressions of the SQL, the CHECK
constraints, the text of a 409, `docs/states.md`, the explicit-state model in this package's tests, and the test that
tries every (status, event) pair on a real PostgreSQL.

**Invariants**

- A guard is tested on the locked row, in the statement that changes it. Other rows that a guard depends on are read in
  that same statement.
- Two groups of events end an attempt: `RECORD` (guarded by the lease token) and `SWEEP` (guarded by the death of
  the worker). Each is one statement whose CASE picks the first event of the group whose guards hold.
- Only RERUN and PURGE change a task in a terminal status, and each of them requires one.
"""

from __future__ import annotations

from dataclasses import dataclass

from task_contracts import _limits as limits
from task_contracts._enums import RUNNING, TERMINAL, WAITING, TaskStatus, WordEnum


class Actor(WordEnum):
    """Who makes an event happen."""

    API = "API"
    LEADER = "leader"
    WORKER = "worker"


class Event(WordEnum):
    """Everything that can happen to a task."""

    CREATE = "CREATE"
    DISPATCH = "DISPATCH"
    UNDISPATCH = "UNDISPATCH"
    CLAIM = "CLAIM"
    COMPLETE = "COMPLETE"
    RETRY = "RETRY"
    FAIL = "FAIL"
    SNOOZE = "SNOOZE"
    RELEASE = "RELEASE"
    CONFIRM_CANCEL = "CONFIRM_CANCEL"
    RESCUE = "RESCUE"
    ABANDON = "ABANDON"
    CANCEL_LOST = "CANCEL_LOST"
    CANCEL = "CANCEL"
    REQUEST_CANCEL = "REQUEST_CANCEL"
    RESCHEDULE = "RESCHEDULE"
    REJECT = "REJECT"
    RERUN = "RERUN"
    PURGE = "PURGE"


SUSPECT_LOST_COUNT = limits.LOSSES_MAX - 1
"""A task that has lost this many workers is a suspect: one more loss ends it."""


WORKER_LOST_MESSAGE = f"{limits.LOSSES_MAX} workers were lost while they ran it"
"""The message of the error that ABANDON writes."""


class Guard(WordEnum):
    """A condition of an event beside its source statuses. The value is its text in the documentation."""

    DUE = "due"
    NOT_DISPATCHED = "dispatched_at is null"
    DISPATCHED = "dispatched_at is set"
    NOT_PAUSED = "no pause covers it"
    PAUSE_OVER = "a pause that covered it is over, and it was due when that began to hold"
    NOT_SUSPECT = f"lost_count < {SUSPECT_LOST_COUNT}"
    CANCEL_REQUESTED = "cancel requested"
    NO_CANCEL_REQUESTED = "no cancel requested"
    LEASE_TOKEN = "the lease token"  # noqa: S105 # a phrase, not a secret
    BEARABLE_LOSS = f"lost_count + 1 < {limits.LOSSES_MAX}, or its worker was draining"
    FATAL_LOSS = f"lost_count + 1 >= {limits.LOSSES_MAX}, and its worker was not draining"
    FINISHED_BEFORE_CUTOFF = "finished_at before the cutoff"
    KEY_NOT_FRESH = f"no idempotency_key, or created over {limits.IDEMPOTENCY_KEY_HOURS} hours ago"
    DUE_FOR_A_LEASE = "due for a lease"
    TYPE_OFFERED = "a type and a queue of this worker"
    WORKER_ALIVE = "this worker's row is alive"
    LONE_SUSPECT = "a suspect only by the poll, and only if this worker holds none"
    WORKER_DEAD = "its worker is dead"
    TYPE_UNKNOWN = (
        "a live worker serves its queue, no live one offers its type there, "
        f"and none has in {limits.UNKNOWN_TYPE_DAYS} days"
    )


class Write(WordEnum):
    """What an event writes beside the status and `version + 1`. The value is its text in the documentation."""

    CREATION = "created_at, due_at = run_at or now"
    DISPATCHED = "dispatched_at"
    UNDISPATCHED = "dispatched_at = null"
    LEASE = "attempt + 1, lease_token, worker_id, started_at"
    RESULT = "result, error = null"
    ERROR = "error"
    FAILURE = "failures + 1"
    FINGERPRINT = "fingerprint"
    FINISHED = "finished_at"
    COUNTS_CLEARED = "failures, lost_count = 0"
    DUE_NOW = "due_at = now"
    DUE_AS_ASKED = "due_at = now, or later (back-off, or as the handler asked)"
    LOSS = "lost_count + 1 (unless the worker was draining)"
    WORKER_LOST = "error worker_lost"
    CANCEL_REQUEST = "cancel_requested_at, if null"
    SCHEDULE = "priority, or run_at; due_at, now at the earliest"
    UNKNOWN_TYPE = "error unknown_type"
    FRESH_RUN = (
        "rerun_count + 1; failures, lost_count = 0; started_at, finished_at, worker_id, lease_token, "
        "cancel_requested_at, result, error, fingerprint, progress, checkpoint = null"
    )


@dataclass(frozen=True)
class Transition:
    """One row of the table of events.

    `sources` is empty for CREATE, which finds no row. `target` is None where the status stays (UNDISPATCH,
    REQUEST_CANCEL, RESCHEDULE) and where the row goes (PURGE).
    """

    event: Event
    sources: frozenset[TaskStatus]
    target: TaskStatus | None
    by: Actor
    guards: tuple[Guard, ...] = ()
    writes: tuple[Write, ...] = ()


_TABLE = (
    Transition(Event.CREATE, frozenset(), TaskStatus.NEW, Actor.API, (), (Write.CREATION,)),
    Transition(
        Event.DISPATCH,
        WAITING,
        TaskStatus.PENDING,
        Actor.LEADER,
        (Guard.DUE, Guard.NOT_DISPATCHED, Guard.NOT_SUSPECT, Guard.NOT_PAUSED),
        (Write.DISPATCHED,),
    ),
    Transition(
        Event.UNDISPATCH,
        frozenset({TaskStatus.PENDING}),
        None,
        Actor.LEADER,
        (Guard.DISPATCHED, Guard.PAUSE_OVER),
        (Write.UNDISPATCHED,),
    ),
    Transition(
        Event.CLAIM,
        WAITING,
        TaskStatus.IN_PROGRESS,
        Actor.WORKER,
        (Guard.DUE, Guard.TYPE_OFFERED, Guard.WORKER_ALIVE, Guard.LONE_SUSPECT, Guard.NOT_PAUSED),
        (Write.LEASE,),
    ),
    Transition(
        Event.COMPLETE,
        RUNNING,
        TaskStatus.COMPLETED,
        Actor.WORKER,
        (Guard.LEASE_TOKEN,),
        (Write.RESULT, Write.FINISHED),
    ),
    Transition(
        Event.RETRY,
        RUNNING,
        TaskStatus.PENDING,
        Actor.WORKER,
        (Guard.LEASE_TOKEN, Guard.NO_CANCEL_REQUESTED),
        (Write.ERROR, Write.FAILURE, Write.DUE_AS_ASKED, Write.UNDISPATCHED),
    ),
    Transition(
        Event.FAIL,
        RUNNING,
        TaskStatus.FAILED,
        Actor.WORKER,
        (Guard.LEASE_TOKEN, Guard.NO_CANCEL_REQUESTED),
        (Write.ERROR, Write.FAILURE, Write.FINGERPRINT, Write.FINISHED),
    ),
    Transition(
        Event.SNOOZE,
        RUNNING,
        TaskStatus.PENDING,
        Actor.WORKER,
        (Guard.LEASE_TOKEN, Guard.NO_CANCEL_REQUESTED),
        (Write.COUNTS_CLEARED, Write.DUE_AS_ASKED, Write.UNDISPATCHED),
    ),
    Transition(
        Event.RELEASE,
        RUNNING,
        TaskStatus.PENDING,
        Actor.WORKER,
        (Guard.LEASE_TOKEN, Guard.NO_CANCEL_REQUESTED),
        (Write.DUE_AS_ASKED, Write.UNDISPATCHED),
    ),
    Transition(
        Event.CONFIRM_CANCEL,
        RUNNING,
        TaskStatus.CANCELLED,
        Actor.WORKER,
        (Guard.LEASE_TOKEN, Guard.CANCEL_REQUESTED),
        (Write.FINISHED,),
    ),
    Transition(
        Event.RESCUE,
        RUNNING,
        TaskStatus.PENDING,
        Actor.LEADER,
        (Guard.WORKER_DEAD, Guard.NO_CANCEL_REQUESTED, Guard.BEARABLE_LOSS),
        (Write.LOSS, Write.DUE_NOW, Write.UNDISPATCHED),
    ),
    Transition(
        Event.ABANDON,
        RUNNING,
        TaskStatus.FAILED,
        Actor.LEADER,
        (Guard.WORKER_DEAD, Guard.NO_CANCEL_REQUESTED, Guard.FATAL_LOSS),
        (Write.LOSS, Write.WORKER_LOST, Write.FINGERPRINT, Write.FINISHED),
    ),
    Transition(
        Event.CANCEL_LOST,
        RUNNING,
        TaskStatus.CANCELLED,
        Actor.LEADER,
        (Guard.WORKER_DEAD, Guard.CANCEL_REQUESTED),
        (Write.LOSS, Write.FINISHED),
    ),
    Transition(Event.CANCEL, WAITING, TaskStatus.CANCELLED, Actor.API, (), (Write.FINISHED,)),
    Transition(Event.REQUEST_CANCEL, RUNNING, None, Actor.API, (), (Write.CANCEL_REQUEST,)),
    Transition(Event.RESCHEDULE, WAITING, None, Actor.API, (), (Write.SCHEDULE, Write.UNDISPATCHED)),
    Transition(
        Event.REJECT,
        WAITING,
        TaskStatus.FAILED,
        Actor.LEADER,
        (Guard.DUE_FOR_A_LEASE, Guard.TYPE_UNKNOWN, Guard.NOT_PAUSED),
        (Write.UNKNOWN_TYPE, Write.FINGERPRINT, Write.FINISHED),
    ),
    Transition(
        Event.RERUN,
        frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED}),
        TaskStatus.PENDING,
        Actor.API,
        (),
        (Write.FRESH_RUN, Write.DUE_NOW, Write.UNDISPATCHED),
    ),
    Transition(Event.PURGE, TERMINAL, None, Actor.LEADER, (Guard.FINISHED_BEFORE_CUTOFF, Guard.KEY_NOT_FRESH)),
)

LIFECYCLE: dict[Event, Transition] = {transition.event: transition for transition in _TABLE}
"""The table of events, in the order of a task's life."""

RECORD = (Event.COMPLETE, Event.CONFIRM_CANCEL, Event.RETRY, Event.FAIL, Event.SNOOZE, Event.RELEASE)
"""Events by which the worker that holds a task ends its attempt. Where a cancel was requested, COMPLETE still counts
and any other of them becomes CONFIRM_CANCEL."""

WITHOUT_TRACE = frozenset({Event.COMPLETE, Event.SNOOZE})
"""Of the events that end an attempt, those that leave no row in `task_attempts`: a completed attempt is the task's own
row, and a handler that snoozes says that all is well (one that does so each second would leave 86,400 rows a day)."""

SWEEP = (Event.CANCEL_LOST, Event.RESCUE, Event.ABANDON)
"""Events by which the leader ends the attempt of a dead worker. Their guards exclude one another."""

CANCELLATION = (Event.CANCEL, Event.REQUEST_CANCEL)
"""Events of a caller's request to cancel. The status alone decides which of them it is."""


def sources(*events: Event) -> frozenset[TaskStatus]:
    """Return the statuses in which at least one of `events` can happen, such as those that CLAIM finds waiting."""
    return frozenset[TaskStatus]().union(*(LIFECYCLE[event].sources for event in events))


class Presence(WordEnum):
    """Whether a column holds a value in a certain status."""

    NEVER = "–"
    ALWAYS = "●"
    MAYBE = "○"


def _rule(presences: str) -> dict[TaskStatus, Presence]:
    return dict(zip(TaskStatus, map(Presence, presences.split()), strict=True))


COLUMN_RULES: dict[str, dict[TaskStatus, Presence]] = {
    "started_at": _rule("– ○ ● ● ○ ○"),
    "worker_id": _rule("– ○ ● ● ○ ○"),
    "lease_token": _rule("– ○ ● ● ○ ○"),
    "finished_at": _rule("– – – ● ● ●"),
    "result": _rule("– – – ○ – –"),
    "error": _rule("– ○ ○ – ● ○"),
    "fingerprint": _rule("– – – – ○ –"),
    "cancel_requested_at": _rule("– – ○ ○ – ○"),
    "dispatched_at": _rule("– ○ ○ ○ ○ ○"),
}
"""What each column holds in each status (NEW, PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED). The CHECK
constraints of the table `tasks` are made from it, so the database refuses an impossible row, whoever writes it."""


def refusal(status: TaskStatus, *events: Event) -> str:
    """Return the text of a 409: why none of `events` can happen to a task in `status`.

    For example `a COMPLETED task cannot change by CANCEL (from NEW, PENDING) or REQUEST_CANCEL (from IN_PROGRESS)`.
    """
    ways = " or ".join(f"{event} (from {_names(LIFECYCLE[event].sources)})" for event in events)
    return f"a {status} task cannot change by {ways}"


def _names(statuses: frozenset[TaskStatus]) -> str:
    return ", ".join(status for status in TaskStatus if status in statuses)
