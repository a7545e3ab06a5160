"""Writes the progress of many running tasks. That is no event of the life cycle: no status changes."""

from __future__ import annotations

from sqlalchemy import Text, Uuid, and_, cast, select, true, update
from sqlalchemy.dialects.postgresql import JSONB

from task_store._models import TaskRow
from task_store._statements.lookups import locked_row
from task_store._statements.parameters import unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant, is_held

_reported = unnested("reported", id=Uuid(), lease_token=Uuid(), progress=Text())
_is_of_lease = and_(is_held(), TaskRow.lease_token == _reported.c.lease_token)
_row = locked_row(_reported.c.id, _is_of_lease, name="row", skip_locked=False)
_locked = (
    select(_row.c.id, cast(_reported.c.progress, JSONB).label("progress"))
    .select_from(_reported.join(_row, true()))
    .cte("locked")
)

PROGRESS = Statement(
    update(TaskRow)
    .values(progress=_locked.c.progress, version=TaskRow.version + constant(1))
    .where(TaskRow.id == _locked.c.id)
    .returning(TaskRow.id, TaskRow.lease_token),
    "Writes how far running tasks have come. The arrays have one length and are sorted by id; `progress` holds JSON"
    " texts. Returns the leases that still hold.",
    indexes=("pk_tasks",),
)
