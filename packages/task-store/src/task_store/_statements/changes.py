"""What a caller asks of one task: DELETE (CANCEL or REQUEST_CANCEL), RESCHEDULE, RERUN. Each is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import DateTime, Select, Text, Uuid, case, func, null, select, union_all, update
from sqlalchemy.sql.selectable import CompoundSelect

from task_contracts.lifecycle import DELETE as DELETE_EVENTS
from task_contracts.lifecycle import Event
from task_store._models import TaskRow
from task_store._statements.pages import TASK_COLUMNS
from task_store._statements.parameters import parameter
from task_store._statements.transitions import NOW, ValueExpressions, pick, values_of_picked


def _change(events: Sequence[Event], given: ValueExpressions | None = None) -> CompoundSelect[Any]:
    """Return the row as it is after the first of `events` that it allows, with that event's name, or as it stays."""
    locked = (
        select(*TASK_COLUMNS, pick(events).label("event"))
        .where(TaskRow.id == parameter("task_id", Uuid()))
        .with_for_update()
        .cte("locked")
    )
    changed = (
        update(TaskRow)
        .values(values_of_picked(events, locked.c.event, given))
        .where(TaskRow.id == locked.c.id, locked.c.event.is_not(None))
        .returning(*TASK_COLUMNS, locked.c.event)
        .cte("changed")
    )
    stayed: Select[Any] = select(*(locked.c[column.name] for column in TASK_COLUMNS), null().label("event"))
    return union_all(select(changed), stayed.where(locked.c.event.is_(None)))


DELETE = _change(DELETE_EVENTS)
"""Parameters: task_id."""

RERUN = _change([Event.RERUN])
"""Parameters: task_id."""

_run_at = parameter("run_at", DateTime(timezone=True))

RESCHEDULE = _change(
    [Event.RESCHEDULE],
    {
        "priority": func.coalesce(parameter("priority", Text()), TaskRow.priority),
        "run_at": func.coalesce(_run_at, TaskRow.run_at),
        "due_at": case((_run_at.is_(None), TaskRow.due_at), else_=func.greatest(_run_at, NOW)),  # greatest skips nulls
    },
)
"""Parameters: task_id, priority (null: as it is), run_at (null: as it is)."""
