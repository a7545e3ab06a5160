"""Counts for those who look: what happened in each minute, and what waits and runs now.

Nobody counts the table of tasks for a request: the leader counts it now and then, and these statements read what it
wrote.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    ScalarSelect,
    Text,
    and_,
    any_,
    case,
    cast,
    delete,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from task_contracts import limits
from task_contracts.lifecycle import Guard
from task_store._models import ActivityRow, QueueNowRow, TaskRow, WorkerRow
from task_store._statements.lookups import clock, holders
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, is_held, is_waiting, shown
from task_store._statements.workers import is_live

COUNTS = ("accepted", "started", "completed", "failed", "cancelled", "retried")
"""What is counted of tasks and attempts."""
SUMS = ("wait_ms_sum", "run_ms_sum")
"""Milliseconds that are summed."""
_KEY = ("minute", "queue", "priority", "type")
TYPES_MAX = 1_000
"""Types of waiting tasks that are looked at: more than that can only be words of a hostile caller."""

_told = unnested(
    "told",
    minute=DateTime(timezone=True),
    queue=Text(),
    priority=Text(),
    type=Text(),
    **{name: Integer() for name in COUNTS},
    **{name: BigInteger() for name in SUMS},
)
_insert = insert(ActivityRow).from_select(
    [column.name for column in _told.c],
    # In one order, whoever writes: else two of them wait for one another.
    select(*_told.c).order_by(*(_told.c[name] for name in _KEY)),
)

ADD = Statement(
    _insert.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={name: getattr(ActivityRow, name) + _insert.excluded[name] for name in (*COUNTS, *SUMS)},
    ),
    "Adds counts to their minutes. The arrays have one length, and no key is given twice.",
    indexes=("pk_activity_minutes",),
)

_row_id: ColumnElement[Any] = literal_column("ctid")
_old = (
    select(_row_id)
    .select_from(ActivityRow)
    .where(ActivityRow.minute < NOW - parameter("age", Interval()))
    .order_by(*(getattr(ActivityRow, name) for name in _KEY))
    .limit(parameter("rows", Integer()))
    .with_for_update(skip_locked=True)
)

FORGET = Statement(
    # By their places: joined by a key of four columns, they would be looked for in the whole table.
    delete(ActivityRow).where(_row_id == any_(func.array(_old.scalar_subquery()))).returning(ActivityRow.minute),
    "Deletes counts of minutes that are longer than `age` ago, at most `rows` of them. Skips what is locked.",
    indexes=("pk_activity_minutes",),
)

_this_minute = func.date_trunc(constant("minute"), NOW)
_of_minutes = unnested("span", minutes=Integer())
_span = _of_minutes.c.minutes * literal_column("interval '1 minute'", Interval())
_sums = [func.coalesce(func.sum(getattr(ActivityRow, name)), constant(0)).label(name) for name in (*COUNTS, *SUMS)]
_in_span = (
    select(*_sums)
    .where(ActivityRow.minute >= _this_minute - _span, ActivityRow.minute < _this_minute)
    .where(func.coalesce(ActivityRow.queue == parameter("queue", Text()), true()))
    .correlate(_of_minutes)
    .lateral("counted")
)

RATES = Statement(
    select(_of_minutes.c.minutes, *_in_span.c)
    .select_from(_of_minutes.join(_in_span, true()))
    .order_by(_of_minutes.c.minutes),
    "Returns what happened in the last `minutes` whole minutes, a row for each of them, of a queue or of all.",
    indexes=("pk_activity_minutes",),
)

_queue, _priority = parameter("queue", Text()), parameter("priority", Text())
_in_line = and_(is_waiting(), TaskRow.queue == _queue, TaskRow.priority == _priority)


def _type_after(condition: ColumnElement[bool]) -> ScalarSelect[str]:
    row = select(TaskRow.type).where(_in_line, condition)
    return row.order_by(TaskRow.type).limit(constant(1)).scalar_subquery()


# The types of which tasks wait, each once: from one to the next in the index.
_hops = select(_type_after(true()).label("type")).cte("hops", recursive=True)
_all_types = _hops.union_all(
    select(_type_after(TaskRow.type > _hops.c.type)).where(_hops.c.type.is_not(None))  # its last row is NULL
)
_types = select(_all_types.c.type).where(_all_types.c.type.is_not(None)).limit(constant(TYPES_MAX + 1)).cte("types")
# Both limits count. The one of a type keeps the planner to one type after the other: without it, it hashes all that
# waits. The one of all ends the walk: without it there are so many of each type. An order would make it sort a type.
_due = (
    select(TaskRow.due_at)
    .where(_in_line, TaskRow.type == _types.c.type, shown(Guard.DUE))
    .limit(constant(limits.TOTAL_MAX + 1))
    .correlate(_types)
    .lateral("due")
)
_all_due = (
    select(_due.c.due_at)
    .select_from(_types.join(_due, true()))
    .limit(constant(limits.TOTAL_MAX + 1))
    .subquery("all_due")
)
_oldest = (
    select(TaskRow.due_at)
    .where(_in_line, TaskRow.type == _types.c.type, shown(Guard.DUE))
    .order_by(TaskRow.due_at)
    .limit(constant(1))
    .correlate(_types)
    .lateral("oldest")
)

COUNT_WAITING = Statement(
    select(
        select(func.count()).select_from(_all_due).scalar_subquery().label("waiting"),
        select(func.count()).select_from(_types).scalar_subquery().label("types"),
        select(func.min(_oldest.c.due_at))
        .select_from(_types.join(_oldest, true()))
        .scalar_subquery()
        .label("oldest_due_at"),
    ),
    f"Counts the tasks of a priority of a queue that are due and not begun, up to {limits.TOTAL_MAX + 1}, of up to"
    f" {TYPES_MAX + 1} types, and tells since when the oldest of them is due.",
    indexes=("ix_tasks_waiting",),
)

_asked = unnested("asked", queue=Text(), priority=Text())
# The order is that of the index: without it, the planner reads the table until it meets such a task.
_first = (
    select(TaskRow.type)
    .where(is_waiting(), TaskRow.queue == _asked.c.queue, TaskRow.priority == _asked.c.priority)
    .order_by(TaskRow.type)
    .limit(constant(1))
    .correlate(_asked)
    .lateral("first")
)

ANY_WAITING = Statement(
    select(_asked.c.queue, _asked.c.priority).select_from(_asked.join(_first, true())),
    "Returns those of some priorities of queues of which any task waits, due or not. The arrays have one length.",
    indexes=("ix_tasks_waiting",),
)

_holders = holders()
_held = (
    select(TaskRow.queue, TaskRow.priority)
    .where(is_held(), TaskRow.worker_id == _holders.c.worker_id)
    .limit(constant(100_000))
    .correlate(_holders)
    .lateral("held")
)

COUNT_RUNNING = Statement(
    select(_held.c.queue, _held.c.priority, func.count().label("running"))
    .select_from(_holders.join(_held, true()))
    .group_by(_held.c.queue, _held.c.priority),
    "Counts the running tasks of each queue and priority.",
    indexes=("ix_tasks_running",),
)

_now_given = unnested(
    "given",
    queue=Text(),
    priority=Text(),
    waiting=Integer(),
    waiting_is_capped=Boolean(),
    oldest_due_at=DateTime(timezone=True),
    running=Integer(),
)
_is_running_known = _now_given.c.running.is_not(None)
_insert_now = insert(QueueNowRow).from_select(
    [*(column.name for column in _now_given.c), "at"],
    select(
        *(_now_given.c[name] for name in _now_given.c.keys()[:-1]),
        func.coalesce(_now_given.c.running, QueueNowRow.running),
        case((_is_running_known, NOW), else_=QueueNowRow.at),
    )
    .select_from(
        _now_given.outerjoin(
            QueueNowRow,
            and_(QueueNowRow.queue == _now_given.c.queue, QueueNowRow.priority == _now_given.c.priority),
        )
    )
    .where(_is_running_known | QueueNowRow.running.is_not(None))
    .order_by(_now_given.c.queue, _now_given.c.priority),
)

WRITE_NOW = Statement(
    _insert_now.on_conflict_do_update(
        index_elements=["queue", "priority"],
        set_={name: _insert_now.excluded[name] for name in (*_now_given.c.keys()[2:], "at")},
    ),
    "Writes what waits and runs of some priorities of queues. Where `running` is NULL, since that was not counted, it"
    " stays as it was, and so does `at`, the time of the older of the two; then nothing is inserted.",
    indexes=("pk_queue_now",),
)

_now_columns = [getattr(QueueNowRow, column.name) for column in QueueNowRow.__table__.columns]

QUEUES_NOW = Statement(
    select(clock.c.now, *_now_columns).select_from(clock.outerjoin(QueueNowRow, true())),
    "Returns what waits and runs in each queue, as it was last written, and the time `now` in each row.",
    scans=("queue_now",),
)

_served = select(func.unnest(WorkerRow.queues).label("queue"), WorkerRow.slots).where(is_live()).subquery("served")
_all_workers = select(
    cast(literal_column("NULL"), Text()).label("queue"),
    func.count().label("live_workers"),
    func.coalesce(func.sum(WorkerRow.slots), constant(0)).label("slots"),
).where(is_live())

CAPACITY = Statement(
    union_all(
        _all_workers,
        select(_served.c.queue, func.count(), func.coalesce(func.sum(_served.c.slots), constant(0))).group_by(
            _served.c.queue
        ),
    ),
    "Returns how many workers live, with how many slots: those of each queue, and all of them, with `queue` NULL.",
    indexes=("ix_workers_live",),
)

LIVE_TYPES = Statement(
    select(func.unnest(WorkerRow.types).label("type")).where(is_live()).distinct(),
    "Returns the types that live workers offer.",
    indexes=("ix_workers_live",),
)
