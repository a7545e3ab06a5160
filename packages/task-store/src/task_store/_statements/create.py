"""CREATE: inserts many tasks at once. `created_at` is the database's time, and `due_at` is never before it."""

from __future__ import annotations

from sqlalchemy import JSON, Double, Integer, Text, Uuid, cast, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import DateTime

from task_contracts.lifecycle import LIFECYCLE, Event
from task_store._models import TaskRow
from task_store._statements.parameters import unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant

_asked = unnested(
    "asked",
    id=Uuid(),
    name=Text(),
    description=Text(),
    type=Text(),
    queue=Text(),
    labels=Text(),
    payload=Text(),
    priority=Text(),
    run_at=DateTime(timezone=True),
    timeout_seconds=Double(),
    max_attempts=Integer(),
)

_columns = {
    **{column.name: column for column in _asked.c},
    "labels": cast(_asked.c.labels, JSONB),
    "payload": cast(_asked.c.payload, JSON),
    "payload_bytes": func.octet_length(_asked.c.payload),
    "status": constant(str(LIFECYCLE[Event.CREATE].target)),
    "created_at": NOW,
    # A run_at in the past means now: the task must not overtake those that have been waiting.
    "due_at": func.greatest(_asked.c.run_at, NOW),
}

CREATE = Statement(
    insert(TaskRow)
    .from_select(list(_columns), select(*_columns.values()))
    .returning(TaskRow.id, TaskRow.created_at, TaskRow.due_at),
    "Stores new tasks. The arrays have one length; `labels` and `payload` are JSON texts.",
    tells_changes=True,
)
