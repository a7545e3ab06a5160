"""What those who watch tasks read: which of some tasks have changed, what has ended of late, and what there is now.

None is asked for one watcher: whoever watches gathers the ids and versions of all, and asks once.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Text,
    Uuid,
    cast,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import aliased

from task_contracts import TaskState, limits
from task_store._models import TaskRow
from task_store._statements.lookups import clock
from task_store._statements.matching import match_conditions
from task_store._statements.pages import columns_of
from task_store._statements.parameters import in_order, parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant, is_held, is_waiting
from task_store.records import TaskFilter

_FIXED_BYTES = 500
"""Upper bound for the columns of a watched task whose size is bounded by their types: ids, times, names, numbers."""
_STATE = columns_of(TaskState)

_asked = in_order("asked", id=Uuid(), version=Integer())
_row = (
    select(*_STATE, TaskRow.type, TaskRow.queue, TaskRow.labels).where(TaskRow.id == _asked.c.id).lateral("row")
)  # by its id alone, so that PostgreSQL looks up each
_texts = (func.octet_length(cast(_row.c[name], Text)) for name in ("labels", "progress"))
_changed = (
    select(
        _asked.c.id.label("asked_id"),
        _asked.c.place,
        *_row.c,
        (sum((func.coalesce(text, constant(0)) for text in _texts), constant(_FIXED_BYTES))).label("size"),
    )
    .select_from(_asked.outerjoin(_row, true()))
    .where(func.coalesce(_row.c.version, constant(0)) != _asked.c.version)
    .subquery("changed")
)
_sized = select(
    _changed,
    func.sum(_changed.c.size).over(order_by=_changed.c.place).label("sum_bytes"),
    func.count().over().label("changed"),
).subquery("sized")
_fits = (_sized.c.sum_bytes <= parameter("bytes", BigInteger())) | (_sized.c.sum_bytes == _sized.c.size)

CHANGED = Statement(
    select(*_sized.c, clock.c.now).select_from(clock.outerjoin(_sized, _fits)).order_by(_sized.c.place),
    "Returns which of these tasks are not at the `version` given (0 is a task that does not exist), in the order asked,"
    " until their texts exceed `bytes` together; the first one always fits. `changed` counts them all. Of a task that"
    " is gone, `id` is null. `now` comes in each row, and alone if there is none. The two arrays have one length.",
    indexes=("pk_tasks",),
)

_after_finished_at = parameter("after_finished_at", DateTime(timezone=True))
_finished = (
    select(TaskRow.id, TaskRow.version, TaskRow.finished_at)
    .where(
        TaskRow.finished_at >= _after_finished_at,  # what the index serves of the next line
        tuple_(TaskRow.finished_at, TaskRow.id) > tuple_(_after_finished_at, parameter("after_id", Uuid())),
    )
    .order_by(TaskRow.finished_at, TaskRow.id)
    .limit(parameter("rows", Integer()))
    .subquery("finished")
)

FINISHED = Statement(
    select(*_finished.c, clock.c.now)
    .select_from(clock.outerjoin(_finished, true()))
    .order_by(_finished.c.finished_at, _finished.c.id),
    "Returns the tasks that ended after this time, and after the one given at it, the earliest first, at most `rows` of"
    " them. `now` comes in each row, and alone if there is none.",
    indexes=("ix_tasks_finished",),
)


def present(wanted: TaskFilter, since: datetime, *, items: int) -> Statement:
    """Build the select of up to `items` matching tasks that wait, run, or have ended at `since` or later.

    Each row also has `is_cut`: whether of those that wait, of those that run or of those that have ended so many exist
    that not all were examined (`limits.EXAMINED_ROWS_MAX`); and `now`. Both come alone if nothing matches. `wanted.ids`
    and its place in the list are not heeded.
    """
    of_queue = [TaskRow.queue == wanted.queue] if wanted.queue is not None else []  # served by the index
    # Each in the order of its index: else PostgreSQL may read the whole table for few of its rows.
    lane = (TaskRow.queue, TaskRow.priority, TaskRow.type, TaskRow.due_at, TaskRow.id)
    parts = (
        select(*TaskRow.__table__.c).where(is_waiting(), *of_queue).order_by(*lane),
        select(*TaskRow.__table__.c).where(is_held()).order_by(TaskRow.worker_id),
        select(*TaskRow.__table__.c).where(TaskRow.finished_at >= since).order_by(TaskRow.finished_at.desc()),
    )
    examined = union_all(*(select(part.limit(limits.EXAMINED_ROWS_MAX).subquery()) for part in parts))
    seen = aliased(TaskRow, examined.subquery("examined"))
    matching = select(*(getattr(seen, column.name) for column in _STATE)).where(*match_conditions(seen, wanted))
    found = matching.limit(items).subquery("found")
    is_cut = or_(*(exists(part.offset(limits.EXAMINED_ROWS_MAX - 1).limit(1)) for part in parts))
    return Statement(
        select(*found.c, is_cut.label("is_cut"), clock.c.now).select_from(clock.outerjoin(found, true())),
        "Returns the matching tasks that wait, run or have ended since then, and whether some were not examined.",
        indexes=("ix_tasks_waiting", "ix_tasks_running", "ix_tasks_finished"),
        is_built=True,
    )
