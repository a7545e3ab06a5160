"""Reads and adds the queues that exist, which the SQL function `create_task()` looks up."""

from __future__ import annotations

from sqlalchemy import Text, select
from sqlalchemy.dialects.postgresql import insert

from task_store._models import QueueRow
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement

QUEUES = Statement(
    select(QueueRow.name, QueueRow.default_type),
    "Returns the queues that exist, each with the type of a task that names none.",
    scans=("queues",),
)

_named = unnested("named", name=Text())
_insert_queues = insert(QueueRow).from_select(
    ["name", "default_type"], select(_named.c.name, parameter("default_type", Text())).order_by(_named.c.name)
)

ADD_QUEUES = Statement(
    _insert_queues.on_conflict_do_update(
        index_elements=[QueueRow.name],
        set_={"default_type": _insert_queues.excluded.default_type},
    ),
    "Adds queues, or gives those that are there another default type. Rows are written in one order, so that two APIs"
    " that start at once lock them in that order.",
    indexes=("pk_queues",),
)
