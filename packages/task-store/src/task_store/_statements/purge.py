"""PURGE: the leader reads which tasks ended long ago, with their sizes, and deletes them by their ids."""

from __future__ import annotations

from sqlalchemy import DateTime, Integer, Interval, Uuid, delete, func, select, true, tuple_

from task_contracts.lifecycle import Event, Guard
from task_store._models import AttemptRow, TaskRow
from task_store._statements.lookups import is_picked, locked_row
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, guards

_is_old = guards(Event.PURGE, {Guard.FINISHED_BEFORE_CUTOFF: TaskRow.finished_at < NOW - parameter("age", Interval())})
_after_finished_at = parameter("after_finished_at", DateTime(timezone=True))

_traceback_bytes = (
    select(func.coalesce(func.sum(func.octet_length(AttemptRow.traceback)), constant(0)))
    .where(AttemptRow.task_id == TaskRow.id)
    .scalar_subquery()
)
_body_bytes = TaskRow.payload_bytes + TaskRow.result_bytes + TaskRow.checkpoint_bytes + _traceback_bytes

OLD = Statement(
    select(TaskRow.id, TaskRow.finished_at, _body_bytes.label("body_bytes"))
    .where(
        _is_old,
        TaskRow.finished_at >= _after_finished_at,  # what the index serves of the next line
        tuple_(TaskRow.finished_at, TaskRow.id) > tuple_(_after_finished_at, parameter("after_id", Uuid())),
    )
    .order_by(TaskRow.finished_at, TaskRow.id)
    .limit(parameter("rows", Integer())),
    "Returns tasks that ended longer than `age` ago and after the one given, the oldest first, at most `rows` of them,"
    " with the sizes of their bodies and tracebacks. Locks nothing.",
    indexes=("ix_tasks_finished", "pk_task_attempts"),
)

_asked = unnested("asked", id=Uuid())
_row = locked_row(_asked.c.id, _is_old, name="row")
_picked = select(_row.c.id).select_from(_asked.join(_row, true())).cte("picked")

PURGE = Statement(
    delete(TaskRow).where(is_picked(_picked)).returning(TaskRow.id),
    "Deletes those of these tasks that ended longer than `age` ago; their attempts go with them. Skips what is locked.",
    indexes=("pk_tasks", "pk_task_attempts"),
)
