"""What a caller can ask of one task: CANCEL (or REQUEST_CANCEL), RERUN and RESCHEDULE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    Uuid,
    any_,
    case,
    func,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import CompoundSelect

from task_contracts.lifecycle import CANCELLATION, Event
from task_store._models import TaskRow
from task_store._statements.pages import TASK_COLUMNS
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, ValueExpressions, pick, values_of_picked

_INDEXES = ("pk_tasks",)


def _change(
    events: Sequence[Event], given: ValueExpressions | None = None, only_if: ColumnElement[bool] | None = None
) -> CompoundSelect[Any]:
    """Apply the first of `events` that the row allows and return the row with its name; else the row unchanged.

    `only_if` is a condition of the caller's own, on the locked row.
    """
    event = pick(events) if only_if is None else case((only_if, pick(events)))
    locked = (
        select(*TASK_COLUMNS, event.label("event"))
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


CANCEL = Statement(
    _change(CANCELLATION),
    "Cancels a waiting task, or asks for a running one to be stopped. Returns the changed task and the event,"
    " which is NULL if the task had already ended. No row if there is no such task.",
    indexes=_INDEXES,
    tells_changes=True,
    tells_events=True,
)

RERUN = Statement(
    _change([Event.RERUN]),
    "Begins a new run of a task that was unsuccessful. Returns the task as it then is, and the event or NULL.",
    indexes=_INDEXES,
    tells_changes=True,
    tells_events=True,
)

_run_at = parameter("run_at", DateTime(timezone=True))
_is_run_at_given = parameter("is_run_at_given", Boolean())
_versions = parameter("versions", ARRAY(Integer()))

RESCHEDULE = Statement(
    _change(
        [Event.RESCHEDULE],
        {
            "priority": func.coalesce(parameter("priority", Text()), TaskRow.priority),
            "run_at": case((_is_run_at_given, _run_at), else_=TaskRow.run_at),
            # Never in the past: in its new place the task must not lie below a low-water time.
            "due_at": func.greatest(case((_is_run_at_given, _run_at), else_=TaskRow.due_at), NOW),
        },
        only_if=_versions.is_(None) | (TaskRow.version == any_(_versions)),
    ),
    "Gives a waiting task another `priority`, unless that is NULL, and another `run_at`, if `is_run_at_given`: NULL"
    " means now. Only if its version is one of `versions`, unless that is NULL. Returns the task as it then is, and the"
    " event or NULL.",
    indexes=_INDEXES,
    tells_changes=True,
)
