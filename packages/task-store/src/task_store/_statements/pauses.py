"""Pauses: what stands, what is over, and the marks that the leader takes back after one.

A statement that reads lanes tests each lane once, not each row (measured: tested by row, a million paused tasks cost
684 ms a look). What claims rows tests the locked row once more, behind a look at whether anything is paused at all,
which is made once for the statement.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Interval,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from task_contracts import AuditAction
from task_contracts.lifecycle import Event, Guard
from task_store._models import PauseRow, TaskRow, WorkerRow
from task_store._statements.audit import audited
from task_store._statements.lookups import clock, is_in_lane, is_picked
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, guards, values
from task_store._statements.workers import is_live

KNOWN_SINCE = "0003"
"""The first schema whose workers know pauses."""
_LEADER_SECONDS = 10
"""So long after the end of a pause the poll leaves its tasks to a leader that may come, which settles it first."""
_MARK_SECONDS = 2
"""So long after that it still does: as long as it leaves any task that has just become due."""

_INDEXES = ("pk_pauses",)
_OPEN_INDEX = ("ix_pauses_open",)
_actor, _request_id = parameter("actor", Text()), parameter("request_id", Text())
_one: ColumnElement[Any] = constant(1)

is_open = PauseRow.settled_at.is_(None)
_stands = and_(PauseRow.ended_at.is_(None), or_(PauseRow.until.is_(None), PauseRow.until > NOW))
_is_over = ~_stands
_over_at = func.coalesce(PauseRow.ended_at, PauseRow.until)
_a_leader_may_come = _over_at > NOW - literal_column(f"interval '{_LEADER_SECONDS} seconds'", Interval())
_is_just_settled = PauseRow.settled_at > NOW - literal_column(f"interval '{_MARK_SECONDS} seconds'", Interval())


def _covers(lane: FromClause, pause: FromClause = PauseRow.__table__) -> ColumnElement[bool]:
    """Return the condition that a pause covers what has these columns `queue`, `priority` and `type`."""
    return and_(
        *(or_(pause.c[name].is_(None), pause.c[name] == lane.c[name]) for name in ("queue", "priority", "type"))
    )


def is_not_paused() -> ColumnElement[bool]:
    """Return the guard NOT_PAUSED for a row of `tasks`: no pause that stands covers it."""
    anything = exists(select(_one).where(is_open, _stands))
    covering = exists(select(_one).where(is_open, _stands, _covers(TaskRow.__table__)).correlate(TaskRow))
    return or_(~anything, ~covering)


def split_lanes(lanes: FromClause, is_paused: ColumnElement[bool]) -> tuple[FromClause, ColumnElement[Any]]:
    """Return the lanes that are not paused, and the places of those that are, as an array.

    Args:
        lanes: the relation, with a column `place`.
        is_paused: the condition on it; tested once for each of them.

    """
    tested = select(*lanes.c, is_paused.label("is_paused")).cte("lanes")
    places = select(tested.c.place).where(tested.c.is_paused).scalar_subquery()
    return (
        select(*tested.c).where(~tested.c.is_paused).subquery("lane_to_read"),
        func.array(places, type_=ARRAY(BigInteger)),
    )


def is_lane_paused(lane: FromClause) -> ColumnElement[bool]:
    """Return the condition that a pause which stands covers a lane (the columns `queue`, `priority` and `type`)."""
    return exists(select(_one).where(is_open, _stands, _covers(lane)).correlate(lane))


def is_lane_left_to_leader(lane: FromClause) -> ColumnElement[bool]:
    """Return the condition for the poll: a pause covers the lane, or has until lately and the leader marks first."""
    left = (
        select(PauseRow.queue, PauseRow.priority, PauseRow.type)
        .where(or_(and_(is_open, or_(_stands, _a_leader_may_come)), _is_just_settled))
        .cte("left_to_leader")
        .prefix_with("MATERIALIZED")  # read once, not for each lane
    )
    return exists(select(_one).select_from(left).where(_covers(lane, left)).correlate(lane))


def is_lane_unsettled(lane: FromClause) -> ColumnElement[bool]:
    """Return the condition for marks: a pause covers the lane, or has, and its old marks were not taken back yet."""
    return exists(select(_one).where(is_open, _covers(lane)).correlate(lane))


is_any_over: ColumnElement[bool] = exists(select(_one).where(is_open, _is_over))
"""Whether a pause is over and not settled."""
next_end: ColumnElement[Any] = select(func.min(PauseRow.until)).where(is_open, _stands).scalar_subquery()
"""When the next pause ends by itself."""

_COVERED = (PauseRow.queue, PauseRow.type, PauseRow.priority)
# Where its adder has ended in between, nobody was told of an earlier time.
_effective_at = func.coalesce(PauseRow.effective_at, NOW).label("effective_at")
# A pause that ended by itself shows when, before the leader has written it.
_shown_end = case((_is_over, _over_at))
_ALL_BUT_END = (
    *(PauseRow.id, *_COVERED, PauseRow.reason, PauseRow.paused_by, PauseRow.created_at, _effective_at),
    PauseRow.until,
)
_SHOWN = (*_ALL_BUT_END, _shown_end.label("ended_at"))


def _act(action: AuditAction, pause: CTE) -> CTE:
    """Return the CTE that writes the audit of a pause that was added or ended, if one was."""
    facts = [(constant(name), pause.c[name]) for name in ("queue", "type", "priority", "until")]
    return audited(
        action,
        actor=_actor,
        request_id=_request_id,
        source=pause,
        target=cast(pause.c.id, Text),
        filter=func.jsonb_strip_nulls(func.jsonb_build_object(*chain.from_iterable(facts))),
    )


# Workers of a version that does not know pauses would go on: there is none while one of them lives.
_unknowing = (
    select(WorkerRow.host, WorkerRow.pid, WorkerRow.version)
    .where(is_live(), or_(WorkerRow.schema_revision.is_(None), WorkerRow.schema_revision < constant(KNOWN_SINCE)))
    .order_by(WorkerRow.host, WorkerRow.pid)
    .limit(constant(10))
    .cte("unknowing")
)
_until = parameter("until", DateTime(timezone=True))
_GIVEN = {
    "id": parameter("id", Uuid()),
    "queue": parameter("queue", Text()),
    "type": parameter("type", Text()),
    "priority": parameter("priority", Text()),
    "reason": parameter("reason", Text()),
    "paused_by": _actor,
    "created_at": NOW,
    "until": _until,
}
_open_pauses = select(func.count()).where(is_open).scalar_subquery()
_is_to_come = or_(_until.is_(None), _until > NOW)
_added = (
    insert(PauseRow)
    .from_select(
        list(_GIVEN),
        select(*(value.label(name) for name, value in _GIVEN.items())).where(
            ~exists(select(_one).select_from(_unknowing)), _is_to_come, _open_pauses < parameter("most", Integer())
        ),
    )
    .returning(PauseRow.id, *_COVERED, PauseRow.until)
    .cte("added")
)
_names = func.concat(_unknowing.c.host, constant(":"), _unknowing.c.pid, constant(" "), _unknowing.c.version)

ADD = Statement(
    select(
        _added.c.id,
        _is_to_come.label("is_to_come"),
        func.array(select(_names).scalar_subquery(), type_=ARRAY(Text())).label("unknowing"),
    )
    .select_from(clock.outerjoin(_added, true()))
    .add_cte(_act(AuditAction.PAUSE, _added)),
    "Adds a pause, unless it would be over already, `most` are open, or a live worker does not know pauses; `id` is"
    " NULL then, and `unknowing` names some of these workers. Not safe to repeat.",
    indexes=("ix_workers_live", *_OPEN_INDEX, *_INDEXES),
)

EFFECTIVE = Statement(
    update(PauseRow)
    .values(effective_at=func.coalesce(PauseRow.effective_at, func.clock_timestamp(type_=DateTime(timezone=True))))
    .where(PauseRow.id == parameter("id", Uuid()))
    .returning(*_SHOWN),
    "Writes from when on a pause holds, and returns it. To be sent when ADD has committed: the clock is read after"
    " that, so that a claim which does not see the pause has an earlier time. Safe to repeat.",
    indexes=_INDEXES,
)

_ended = (
    update(PauseRow)
    .values(ended_at=NOW)
    .where(PauseRow.id == parameter("id", Uuid()), is_open, _stands)
    .returning(PauseRow.id, *_COVERED, PauseRow.until)
    .cte("ended")
)
_is_ended_now = _ended.c.id.is_not(None)

END = Statement(
    select(
        *_ALL_BUT_END,
        case((_is_ended_now, NOW), else_=_shown_end).label("ended_at"),
        _is_ended_now.label("is_ended_now"),
    )
    .select_from(PauseRow.__table__.outerjoin(_ended, _ended.c.id == PauseRow.id))
    .where(PauseRow.id == parameter("id", Uuid()))
    .add_cte(_act(AuditAction.RESUME, _ended)),
    "Ends a pause and returns it; `is_ended_now` is false if it was over already. No row if there is none.",
    indexes=_INDEXES,
)

LIST = Statement(
    select(*_SHOWN)
    .where(or_(and_(is_open, _stands), parameter("with_ended", Boolean())))
    .order_by(PauseRow.created_at.desc(), PauseRow.id)
    .limit(parameter("rows", Integer())),
    "Returns the pauses that stand, or with those that are over, the newest first.",
    scans=("pauses",),
)

OVER = Statement(
    select(PauseRow.id, *_COVERED, _effective_at).where(is_open, _is_over),
    "Returns the pauses that are over and not settled.",
    indexes=_OPEN_INDEX,
)

_lanes = unnested("lane", queue=Text(), priority=Text(), type=Text(), since=DateTime(timezone=True))
_rows = parameter("rows", Integer())
_consumed = (
    select(TaskRow.id)
    .where(
        is_in_lane(_lanes),
        guards(Event.UNDISPATCH, {Guard.PAUSE_OVER: TaskRow.due_at <= parameter("until", DateTime(timezone=True))}),
    )
    .order_by(TaskRow.due_at, TaskRow.id)
    .limit(_rows)
    .with_for_update(skip_locked=True)
    .lateral("consumed")
)
_picked = select(_consumed.c.id).select_from(_lanes.join(_consumed, true())).limit(_rows).cte("picked")

UNDISPATCH = Statement(
    update(TaskRow).values(values(Event.UNDISPATCH)).where(is_picked(_picked)).returning(TaskRow.id),
    "Takes back the marks of waiting tasks of some lanes, at most `rows` of them: the messages that named them were"
    " consumed while they were paused. Only what was due at `until` can have been marked. Skips what is locked.",
    indexes=("ix_tasks_waiting", "pk_tasks"),
)

SETTLE = Statement(
    update(PauseRow)
    .values(ended_at=_over_at, settled_at=NOW)
    .where(PauseRow.id == any_(parameter("id", ARRAY(Uuid()))), is_open, _is_over),
    "Notes that the marks of pauses that are over were taken back. Safe to repeat.",
    indexes=_INDEXES,
)

_asked = select(
    *(parameter(name, Text()).label(name) for name in ("queue", "priority", "type")),
).subquery("asked")

covering = (
    select(*_SHOWN)
    .select_from(PauseRow.__table__.join(_asked, true()))
    .where(is_open, _stands, _covers(_asked))
    .order_by(PauseRow.created_at.desc())
    .limit(_one)
    .subquery("covering")
)
"""The newest pause that stands and covers the `queue`, `priority` and `type` of the parameters."""

_old = (
    select(PauseRow.id)
    .where(PauseRow.settled_at < NOW - parameter("age", Interval()))
    .limit(_rows)
    .with_for_update(skip_locked=True)
    .cte("old")
)

FORGET = Statement(
    delete(PauseRow).where(PauseRow.id == any_(func.array(select(_old.c.id).scalar_subquery()))).returning(PauseRow.id),
    "Deletes pauses that were settled `age` ago, at most `rows` of them; the audit keeps what they were.",
    indexes=_INDEXES,
    scans=("pauses",),
)
