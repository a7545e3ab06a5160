"""Writes the checkpoints of many running tasks.

That is no event of the life cycle, and `version` stays: no caller sees them.
"""

from __future__ import annotations

from sqlalchemy import JSON, Text, Uuid, cast, func, update

from task_store._models import TaskRow
from task_store._statements.lookups import rows_of_leases
from task_store._statements.parameters import unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant

_kept = unnested("kept", id=Uuid(), lease_token=Uuid(), checkpoint=Text())
_locked = rows_of_leases(_kept, _kept.c.checkpoint)

CHECKPOINT = Statement(
    update(TaskRow)
    .values(
        checkpoint=cast(_locked.c.checkpoint, JSON),
        checkpoint_bytes=func.coalesce(func.octet_length(_locked.c.checkpoint), constant(0)),
    )
    .where(TaskRow.id == _locked.c.id)
    .returning(TaskRow.id, TaskRow.lease_token),
    "Writes what running tasks keep for their next attempt. The arrays have one length and are sorted by id;"
    " `checkpoint` holds JSON texts, or NULL to keep nothing. Returns the leases that still hold.",
    indexes=("pk_tasks",),
)
