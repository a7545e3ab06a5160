"""Writes the progress of many running tasks. That is no event of the life cycle: no status changes."""

from __future__ import annotations

from sqlalchemy import Text, Uuid, cast, update
from sqlalchemy.dialects.postgresql import JSONB

from task_store._models import TaskRow
from task_store._statements.lookups import rows_of_leases
from task_store._statements.parameters import unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant

_reported = unnested("reported", id=Uuid(), lease_token=Uuid(), progress=Text())
_locked = rows_of_leases(_reported, cast(_reported.c.progress, JSONB).label("progress"))

PROGRESS = Statement(
    update(TaskRow)
    .values(progress=_locked.c.progress, version=TaskRow.version + constant(1))
    .where(TaskRow.id == _locked.c.id)
    .returning(TaskRow.id, TaskRow.lease_token),
    "Writes how far running tasks have come. The arrays have one length and are sorted by id; `progress` holds JSON"
    " texts. Returns the leases that still hold.",
    indexes=("pk_tasks",),
    tells_changes=True,
)
