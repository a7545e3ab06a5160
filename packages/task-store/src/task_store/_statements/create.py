"""CREATE: inserts many tasks at once. `created_at` is the database's time, and `due_at` is never before it.

A task with a key is inserted unless there is one of this key already. The statement waits for another one that is
inserting it, and inserts it after all if that is rolled back. What it did not insert is read by a second statement:
this one does not see what has committed since it began.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Text,
    Uuid,
    case,
    cast,
    exists,
    func,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, Insert, insert
from sqlalchemy.types import DateTime, TypeEngine

from task_contracts.lifecycle import LIFECYCLE, Event
from task_store._models import TaskRow
from task_store._statements.parameters import in_order, parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant

_TYPES: dict[str, TypeEngine[Any]] = {
    "id": Uuid(),
    "name": Text(),
    "description": Text(),
    "type": Text(),
    "queue": Text(),
    "labels": Text(),
    "payload": Text(),
    "priority": Text(),
    "run_at": DateTime(timezone=True),
    "timeout_seconds": Double(),
    "max_attempts": Integer(),
}
_TRACE_TYPES: dict[str, TypeEngine[Any]] = {"traceparent": Text()}
_KEY_TYPES: dict[str, TypeEngine[Any]] = {"scope": Text(), "idempotency_key": Text(), "request_hash": BYTEA()}
_ARRAYS = "The arrays have one length; `labels` and `payload` are JSON texts."


def _insert_from(asked: FromClause, *conditions: ColumnElement[bool], order_by: tuple[str, ...] = ()) -> Insert:
    columns = {
        **{column.name: column for column in asked.c if column.name != "place"},
        "labels": cast(asked.c.labels, JSONB),
        "payload": cast(asked.c.payload, JSON),
        "payload_bytes": func.octet_length(asked.c.payload),
        "status": constant(str(LIFECYCLE[Event.CREATE].target)),
        "created_at": NOW,
        # A run_at in the past means now: the task must not overtake those that have been waiting.
        "due_at": func.greatest(asked.c.run_at, NOW),
    }
    rows = select(*columns.values()).select_from(asked).where(*conditions)
    return insert(TaskRow).from_select(list(columns), rows.order_by(*(asked.c[name] for name in order_by)))


_STORED = (TaskRow.id, TaskRow.created_at)

CREATE = Statement(
    _insert_from(unnested("asked", **_TYPES, **_TRACE_TYPES)).returning(*_STORED),
    f"Stores new tasks. {_ARRAYS}",
    tells_changes=True,
)

CREATE_KEYED = Statement(
    # In one order, whoever inserts: else two statements with the same keys may wait for one another.
    _insert_from(unnested("asked", **_TYPES, **_TRACE_TYPES, **_KEY_TYPES), order_by=("scope", "idempotency_key"))
    .on_conflict_do_nothing()
    .returning(*_STORED),
    f"Stores new tasks, each unless there is one of its key, and returns those that it stored. {_ARRAYS}",
    tells_changes=True,
)

_OF_REQUEST: dict[str, TypeEngine[Any]] = {"scope": Text(), "request_hash": BYTEA(), **_TRACE_TYPES}
"""What all tasks of a batch have in common."""
_asked = in_order("asked", **_TYPES)
_key = parameter("idempotency_key", Text())
_batch = select(
    *(_asked.c[name] for name in _TYPES),
    _asked.c.place,
    # So that no other request can have the key of one of the others: no caller can send a space.
    case((_asked.c.place == 1, _key), else_=_key + literal_column("' '") + cast(_asked.c.place, Text())).label(
        "idempotency_key"
    ),
    *(parameter(name, kind).label(name) for name, kind in _OF_REQUEST.items()),
).cte("batch")
_first = _insert_from(_batch, _batch.c.place == 1).on_conflict_do_nothing().returning(*_STORED).cte("first")
_others = _insert_from(_batch, _batch.c.place > 1, exists(select(_first.c.id))).returning(*_STORED).cte("others")
_stored = union_all(select(*_first.c), select(*_others.c)).subquery("stored")

CREATE_BATCH = Statement(
    select(func.array_agg(_stored.c.id).label("ids"), func.max(_stored.c.created_at).label("created_at")).having(
        func.count() > 0
    ),
    "Stores the tasks of a batch, unless there is one of the key of the first: then none, and returns nothing. The"
    " n-th has the key and n. Fails where there is one of the key of another. Returns one row."
    f" {_ARRAYS}",
    tells_changes=True,
)
