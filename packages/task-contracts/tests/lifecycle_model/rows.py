"""One row of `tasks`, and one UPDATE of it as the life cycle's table says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from task_contracts import TaskStatus, limits
from task_contracts.lifecycle import SUSPECT_LOST_COUNT, Event, Guard, Transition, Write

Table: TypeAlias = Mapping[Event, Transition]

GONE = "gone"
"""The status of a row that was purged."""

FINISHED = frozenset({GONE, *(status for status in TaskStatus if status.is_terminal)})
WAITING = frozenset(status for status in TaskStatus if status.is_waiting)

NOBODY, CRASHED, DECLARED_DEAD = -1, -2, -3
"""Owners that are no index of a worker: none, a process that has ended, and one that has also been declared dead."""


class Due(StrEnum):
    """`due_at` against the database's clock."""

    LATER = "later"
    DUE = "due"
    LONG_DUE = "due for 2 s"


class Row(NamedTuple):
    """What the protocol reads of a task. `owner` is `worker_id`."""

    status: str
    due: str = Due.LATER
    owner: int = NOBODY
    is_cancel_requested: bool = False
    is_dispatched: bool = False
    failures: int = 0
    lost_count: int = 0

    @property
    def is_suspect(self) -> bool:
        return self.lost_count >= SUSPECT_LOST_COUNT

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def is_waiting(self) -> bool:
        return self.status in WAITING

    @property
    def is_running(self) -> bool:
        return self.status == TaskStatus.IN_PROGRESS

    @property
    def is_running_suspect(self) -> bool:
        return self.is_suspect and self.is_running


ROW_GUARDS: dict[Guard, Callable[[Row], bool]] = {
    Guard.DUE: lambda row: row.due != Due.LATER,
    Guard.NOT_DISPATCHED: lambda row: not row.is_dispatched,
    Guard.DISPATCHED: lambda row: row.is_dispatched,
    Guard.NOT_SUSPECT: lambda row: not row.is_suspect,
    Guard.CANCEL_REQUESTED: lambda row: row.is_cancel_requested,
    Guard.NO_CANCEL_REQUESTED: lambda row: not row.is_cancel_requested,
    Guard.BEARABLE_LOSS: lambda row: row.lost_count + 1 < limits.LOSSES_MAX,
    Guard.FATAL_LOSS: lambda row: row.lost_count + 1 == limits.LOSSES_MAX,
    Guard.DUE_FOR_A_LEASE: lambda row: row.due == Due.LONG_DUE,
}
"""Guards that are tested on the row itself."""

GIVEN_GUARDS = frozenset(
    {
        Guard.TYPE_OFFERED,
        Guard.WORKER_ALIVE,
        Guard.LONE_SUSPECT,
        Guard.WORKER_DEAD,
        Guard.TYPE_UNKNOWN,
        Guard.FINISHED_BEFORE_CUTOFF,
        Guard.KEY_NOT_FRESH,
        Guard.LEASE_TOKEN,
        Guard.NOT_PAUSED,
        Guard.PAUSE_OVER,
    }
)
"""Guards that the row does not show: whoever asks for an event says which of them hold. The lease token is one of them,
since the model notes with a remembered token whether it is current."""

WRITES: dict[Write, Callable[[Row], dict[str, Any]]] = {
    Write.CREATION: lambda _: {"due": Due.DUE},
    Write.DISPATCHED: lambda _: {"is_dispatched": True},
    Write.UNDISPATCHED: lambda _: {"is_dispatched": False},
    Write.LEASE: lambda _: {},  # the owner comes with the claim
    Write.RESULT: lambda _: {},
    Write.ERROR: lambda _: {},
    Write.FINGERPRINT: lambda _: {},
    Write.FAILURE: lambda row: {"failures": row.failures + 1},
    Write.FINISHED: lambda _: {},
    Write.COUNTS_CLEARED: lambda _: {"failures": 0, "lost_count": 0},
    Write.DUE_NOW: lambda _: {"due": Due.DUE},
    Write.DUE_AS_ASKED: lambda _: {"due": Due.LATER},
    Write.LOSS: lambda row: {"lost_count": row.lost_count + 1},
    Write.WORKER_LOST: lambda _: {},
    Write.CANCEL_REQUEST: lambda _: {"is_cancel_requested": True},
    Write.SCHEDULE: lambda _: {},  # the new due_at comes with the request
    Write.UNKNOWN_TYPE: lambda _: {},
    Write.FRESH_RUN: lambda _: {"failures": 0, "lost_count": 0, "owner": NOBODY, "is_cancel_requested": False},
}

RENEWS_TOKEN = frozenset({Write.LEASE, Write.FRESH_RUN})
"""Writes that change the token: no token that a worker remembers is current after them."""


def is_allowed(transition: Transition, row: Row, given: frozenset[Guard]) -> bool:
    """Whether the WHERE of `transition` finds the row. `given` are the guards outside the row that hold."""
    if row.status not in transition.sources:
        return False
    return all(ROW_GUARDS[guard](row) if guard in ROW_GUARDS else guard in given for guard in transition.guards)


def written(transition: Transition, row: Row) -> Row:
    """Return the row after the transition."""
    changes: dict[str, Any] = {}
    for write in transition.writes:
        changes |= WRITES[write](row)
    return row._replace(status=target(transition, row), **changes)


def target(transition: Transition, row: Row) -> str:
    """Return the status after the transition: GONE for PURGE, the present one where the transition names none."""
    return GONE if transition.event is Event.PURGE else transition.target or row.status
