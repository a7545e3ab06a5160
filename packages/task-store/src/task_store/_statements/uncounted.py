"""Counts what `create_task()` has stored.

It runs in transactions of others, which may commit late or never, and sums that they wrote would be locked until then.
So each leaves a row of its own, which the leader takes once it is there.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, any_, delete, func, select

from task_contracts.lifecycle import Event
from task_store._models import UncountedRow
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant

_first = select(UncountedRow.task_id).order_by(UncountedRow.task_id).limit(parameter("rows", Integer()))
_ids: ColumnElement[Any] = func.array(_first.scalar_subquery())

TAKE = Statement(
    delete(UncountedRow)
    .where(UncountedRow.task_id == any_(_ids))
    .returning(UncountedRow.queue, UncountedRow.priority, UncountedRow.type, constant(Event.CREATE).label("event")),
    "Takes the rows of tasks that `create_task()` has stored, at most `rows` of them, the earliest first.",
    indexes=("pk_uncounted_tasks",),
    tells_events=True,
)
