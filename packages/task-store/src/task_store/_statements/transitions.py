"""The life cycle as SQL: the WHERE, the SET and the CASE of every event, generated from `task_contracts.lifecycle`.

**Invariants**

- No other module names a status, in a guard or to set it.
- A guard or a write of the table without an expression is an error at import, never a wrong row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    SQLColumnExpression,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from task_contracts import ErrorCode, TaskStatus, limits
from task_contracts.lifecycle import (
    LIFECYCLE,
    RECORD,
    SUSPECT_LOST_COUNT,
    WORKER_LOST_MESSAGE,
    Event,
    Guard,
    Write,
    sources,
)
from task_store._models import TaskRow

GuardExpressions: TypeAlias = Mapping[Guard, ColumnElement[bool]]
"""Guards that a statement supplies as SQL; `true()` where it makes sure of one in another way."""
ValueExpressions: TypeAlias = Mapping[str, ColumnElement[Any]]
"""Values that a statement supplies as SQL, by the name of the column or of the value."""

_LINE_FEED = literal_column(r"E'\n'", Text)
NOW: ColumnElement[Any] = func.statement_timestamp(type_=DateTime(timezone=True))
"""The database's clock: new for each statement and constant within it, so that an index can be searched by it."""


def constant(word: str | int) -> ColumnElement[Any]:
    """Return a constant of the code as a literal in the SQL.

    With a parameter the planner could not know that a partial index fits: `status IN ($1, $2)` proves nothing.
    """
    kind = Integer if isinstance(word, int) else Text
    return literal_column(str(word) if isinstance(word, int) else f"'{word}'", kind)


def is_status(statuses: Iterable[TaskStatus], task: type[TaskRow] = TaskRow) -> ColumnElement[bool]:
    """Return the condition that a task's status is one of these."""
    return task.status.in_([constant(status) for status in sorted(statuses)])


def is_waiting() -> ColumnElement[bool]:
    """Return the condition that the status of a task lets it be claimed."""
    return is_status(sources(Event.CLAIM))


def is_held(task: type[TaskRow] = TaskRow) -> ColumnElement[bool]:
    """Return the condition that a worker holds a task: an attempt has begun and has not ended."""
    return is_status(sources(*RECORD), task)


def _error(code: ErrorCode, *message: str | SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Return an error as the column holds it; the parts of its message are texts of the code, or SQL."""
    text = func.concat(*(constant(part) if isinstance(part, str) else part for part in message))
    return func.jsonb_build_object(
        constant("code"), constant(code), constant("message"), text, constant("type"), null(), type_=JSONB()
    )


def fingerprint_of(code: ErrorCode) -> ColumnElement[str]:
    """Return the fingerprint of a failure without an exception: `FailureKind(type, code).fingerprint`."""
    kind = func.concat(TaskRow.type, _LINE_FEED, constant(code), _LINE_FEED)
    digest = func.sha256(func.convert_to(kind, constant("UTF8")))
    return func.left(func.encode(digest, constant("hex")), constant(16))


_GUARDS: dict[Guard, ColumnElement[bool]] = {
    Guard.DUE: TaskRow.due_at <= NOW,
    Guard.NOT_DISPATCHED: TaskRow.dispatched_at.is_(None),
    Guard.DISPATCHED: TaskRow.dispatched_at.is_not(None),
    Guard.NOT_SUSPECT: TaskRow.lost_count < constant(SUSPECT_LOST_COUNT),
    Guard.CANCEL_REQUESTED: TaskRow.cancel_requested_at.is_not(None),
    Guard.NO_CANCEL_REQUESTED: TaskRow.cancel_requested_at.is_(None),
    Guard.KEY_NOT_FRESH: or_(
        TaskRow.idempotency_key.is_(None),
        TaskRow.created_at < NOW - literal_column(f"interval '{limits.IDEMPOTENCY_KEY_HOURS} hours'", Interval()),
    ),
}
"""Guards that need nothing but the row; every other one is among the `GuardExpressions` that a statement supplies."""

_FRESH_RUN: dict[str, ColumnElement[Any]] = {
    "rerun_count": TaskRow.rerun_count + constant(1),
    **dict.fromkeys(("failures", "lost_count", "result_bytes", "checkpoint_bytes"), constant(0)),
    **dict.fromkeys(("started_at", "finished_at", "worker_id", "lease_token", "cancel_requested_at"), null()),
    **dict.fromkeys(("result", "error", "fingerprint", "progress", "checkpoint"), null()),
}

_WRITES: dict[Write, Callable[[ValueExpressions], dict[str, ColumnElement[Any]]]] = {
    Write.DISPATCHED: lambda _: {"dispatched_at": NOW},
    Write.UNDISPATCHED: lambda _: {"dispatched_at": null()},
    Write.LEASE: lambda given: {
        "attempt": TaskRow.attempt + constant(1),
        "started_at": func.greatest(NOW, TaskRow.created_at),
        "lease_token": given["lease_token"],
        "worker_id": given["worker_id"],
    },
    Write.RESULT: lambda given: {
        "result": given["result"],
        "result_bytes": given["result_bytes"],
        "error": null(),
    },
    Write.ERROR: lambda given: {"error": given["error"]},
    Write.FAILURE: lambda _: {"failures": TaskRow.failures + constant(1)},
    Write.FINGERPRINT: lambda given: {"fingerprint": given["fingerprint"]},
    # After a failover the clock may have stepped back. The times of a row must stay in order.
    Write.FINISHED: lambda _: {"finished_at": func.greatest(NOW, TaskRow.created_at, TaskRow.started_at)},
    Write.COUNTS_CLEARED: lambda _: dict.fromkeys(("failures", "lost_count"), constant(0)),
    Write.DUE_NOW: lambda _: {"due_at": NOW},
    Write.DUE_AS_ASKED: lambda given: {"due_at": NOW + given["delay"]},
    Write.LOSS: lambda given: {
        "lost_count": TaskRow.lost_count + case((given["was_draining"], constant(0)), else_=constant(1))
    },
    Write.WORKER_LOST: lambda _: {"error": _error(ErrorCode.WORKER_LOST, WORKER_LOST_MESSAGE)},
    Write.CANCEL_REQUEST: lambda _: {"cancel_requested_at": func.coalesce(TaskRow.cancel_requested_at, NOW)},
    Write.SCHEDULE: lambda given: {name: given[name] for name in ("priority", "run_at", "due_at")},
    Write.UNKNOWN_TYPE: lambda given: {
        "error": _error(
            ErrorCode.UNKNOWN_TYPE,
            *("no worker of the queue ", TaskRow.queue, " offers the type ", TaskRow.type),
            *("; offered there: ", given["offered"]),
        )
    },
    Write.FRESH_RUN: lambda _: _FRESH_RUN,
}
"""The columns that each write sets. CREATION is not among them: CREATE is an INSERT, in `create.py`."""


def shown(guard: Guard) -> ColumnElement[bool]:
    """Return the condition of a guard that needs nothing but the row."""
    return _GUARDS[guard]


def guards(event: Event, given: GuardExpressions | None = None) -> ColumnElement[bool]:
    """Return the source statuses and the guards of an event, for a WHERE on the locked row of `tasks`.

    Raises:
        KeyError: the event has a guard that needs more than the row, and `given` lacks it.

    """
    transition = LIFECYCLE[event]
    expressions = {**_GUARDS, **(given or {})}
    return and_(is_status(transition.sources), *(expressions[guard] for guard in transition.guards))


def values(event: Event, given: ValueExpressions | None = None) -> dict[str, ColumnElement[Any]]:
    """Return the columns that an event sets, for `update(TaskRow).values(...)`.

    Raises:
        KeyError: one of its writes needs a value that `given` lacks.

    """
    transition = LIFECYCLE[event]
    written: dict[str, ColumnElement[Any]] = {"version": TaskRow.version + constant(1)}
    if transition.target is not None:
        written["status"] = constant(transition.target)
    for write in transition.writes:
        written |= _WRITES[write](given or {})
    return written


def pick(
    events: Iterable[Event], given: GuardExpressions | None = None, asked: ColumnElement[str] | None = None
) -> ColumnElement[Any]:
    """Return the name of the first of `events` that the row allows, or NULL.

    With `asked`, the event that a worker asks for, only that one counts; or CONFIRM_CANCEL in its place, unless it is
    COMPLETE. The guards see to it that exactly one of the two is allowed: a cancel was requested, or it was not.
    """
    ways = []
    for event in events:
        is_meant: ColumnElement[bool] = true()
        if asked is not None:
            is_cancel = event is Event.CONFIRM_CANCEL
            is_meant = asked != constant(Event.COMPLETE) if is_cancel else asked == constant(event)
        ways.append((and_(is_meant, guards(event, given)), constant(event)))
    return case(*ways, else_=null())


def values_of_picked(
    events: Iterable[Event], picked: ColumnElement[str], given: ValueExpressions | None = None
) -> dict[str, ColumnElement[Any]]:
    """Return what the picked event sets: a CASE over `picked` for each column that any of `events` sets."""
    by_event = {event: values(event, given) for event in events}
    columns = dict.fromkeys(name for written in by_event.values() for name in written)
    return {name: _column_case(name, by_event, picked) for name in columns}


def _column_case(
    name: str, by_event: Mapping[Event, dict[str, ColumnElement[Any]]], picked: ColumnElement[str]
) -> ColumnElement[Any]:
    groups: list[tuple[ColumnElement[Any], list[Event]]] = []
    for event, written in by_event.items():
        if name in written:
            same = next((events for value, events in groups if value.compare(written[name])), None)
            if same is None:
                groups.append((written[name], same := []))
            same.append(event)
    column = TaskRow.__table__.c[name]
    if len(groups) == 1 and len(groups[0][1]) == len(by_event):
        return groups[0][0]
    ways = ((_takes_place(picked, events), cast(value, column.type)) for value, events in groups)
    return case(*ways, else_=column)


def _takes_place(picked: ColumnElement[str], events: Sequence[Event]) -> ColumnElement[bool]:
    """Return the condition that one of `events` was picked, and that the row is in one of their source statuses.

    The second part is needed since PostgreSQL builds the new row twice. First from the version in the statement's
    snapshot, on which it checks the constraints; then, as that version has changed, from the locked one. Suppose that
    a PENDING task was claimed while we waited for its lock: REQUEST_CANCEL was picked for the locked version, and on
    the PENDING one of the snapshot it would violate a constraint.
    """
    return and_(picked.in_([constant(event) for event in events]), is_status(sources(*events)))
