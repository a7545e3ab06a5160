"""PURGE: the leader deletes tasks that ended long ago."""

from __future__ import annotations

from sqlalchemy import Integer, Interval, delete, select

from task_contracts.lifecycle import Event, Guard
from task_store._models import TaskRow
from task_store._statements.lookups import is_picked
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, guards

_cutoff = {Guard.FINISHED_BEFORE_CUTOFF: TaskRow.finished_at < NOW - parameter("age", Interval())}
_old = (
    select(TaskRow.id)
    .where(guards(Event.PURGE, _cutoff))
    .order_by(TaskRow.finished_at)
    .limit(parameter("rows", Integer()))
    .with_for_update(skip_locked=True)
    .cte("old")
)

PURGE = Statement(
    delete(TaskRow).where(is_picked(_old)).returning(TaskRow.id),
    "Deletes tasks that ended longer than `age` ago, the oldest first, at most `rows` of them; their attempts go with"
    " them. Skips what is locked.",
    indexes=("ix_tasks_finished", "pk_tasks", "pk_task_attempts"),
)
