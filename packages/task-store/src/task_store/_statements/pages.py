"""Reads one task, or a page of many.

A page reads rows in the order of the primary key, which is the order of creation (UUIDv7), at most
`limits.EXAMINED_ROWS_MAX` of them: so its cost is bounded, whatever the filter. Where a page is short because that many
rows were examined, `last_examined` is the id after which the next page begins.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Select,
    SQLColumnExpression,
    Subquery,
    Text,
    Uuid,
    case,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from task_contracts import SortOrder, Task, TaskState, TaskSummary, limits
from task_store._models import TaskRow
from task_store._statements.matching import bounds, indexes, is_of_key, match_conditions
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant
from task_store.records import TaskFilter

_FIXED_BYTES = 1500
"""Upper bound for the names of all fields, and for the columns whose values have one size: ids, times, numbers."""


def columns_of(model: type[TaskState]) -> list[InstrumentedAttribute[Any]]:
    """Return the columns of `tasks` that a model shows, in its order."""
    return [getattr(TaskRow, name) for name in model.model_fields]


TASK_COLUMNS = columns_of(Task)
SUMMARY_COLUMNS = columns_of(TaskSummary)

_this_one = TaskRow.id == parameter("task_id", Uuid())

GET = Statement(select(*TASK_COLUMNS).where(_this_one), "Returns one task, whole.", indexes=("pk_tasks",))

STATE = Statement(
    select(*columns_of(TaskState)).where(_this_one),
    "Returns the state of one task: nothing that may be large.",
    indexes=("pk_tasks",),
)

_scope, _key = parameter("scope", Text()), parameter("idempotency_key", Text(collation="C"))

GET_BY_KEY = Statement(
    select(*TASK_COLUMNS, TaskRow.request_hash).where(TaskRow.scope == _scope, TaskRow.idempotency_key == _key),
    "Returns the task that was created with this key, whole, and the hash of the request.",
    indexes=("ix_tasks_idempotency_key",),
)

IS_KEY_KNOWN = Statement(
    select(constant(1)).where(TaskRow.scope == _scope, TaskRow.idempotency_key == _key),
    "Returns a row if a task was created with this key.",
    indexes=("ix_tasks_idempotency_key",),
)


GET_BATCH = Statement(
    select(*SUMMARY_COLUMNS, TaskRow.request_hash).where(*is_of_key(_scope, _key)).order_by(TaskRow.id),
    "Returns the tasks that were created with this key, in their order, without what may be large, and the hash of the"
    " request.",
    indexes=("ix_tasks_idempotency_key",),
)


FINISHED_IDS = Statement(
    select(TaskRow.id)
    .where(
        TaskRow.finished_at >= parameter("finished_from", DateTime(timezone=True)),
        TaskRow.finished_at < parameter("finished_to", DateTime(timezone=True)),
    )
    .order_by(TaskRow.finished_at)
    .limit(parameter("rows", Integer())),
    "Returns the ids of tasks that ended within a time, at most `rows` of them.",
    indexes=("ix_tasks_finished",),
)


def page(wanted: TaskFilter, *, is_full: bool, items: int) -> Statement:
    """Build the select of up to `items` matching tasks, fewer where they exceed `limits.PAGE_BYTES` together.

    The first task is always there, however large. Each row also has `matched`, the number of matches before the cut
    (counted up to `items` + 1), and `last_examined`: the last id examined, or null if there are more matches or fewer
    rows than the limit were examined. Where nothing matches there is one row, whose `id` is null: so that these two
    still come from the same snapshot.
    """
    seen = aliased(TaskRow, examined(wanted))
    names = [column.name for column in (TASK_COLUMNS if is_full else SUMMARY_COLUMNS)]
    matching = (
        select(*(getattr(seen, name) for name in names), _size(seen, is_full=is_full).label("size"))
        .where(*match_conditions(seen, wanted))
        .order_by(in_list_order(seen.id, wanted.order))
        .limit(items + 1)
        .subquery("matching")
    )
    running = func.sum(matching.c.size).over(order_by=in_list_order(matching.c.id, wanted.order))
    sized = select(matching, running.label("bytes"), func.count().over().label("matched")).subquery("sized")
    cut = (
        select(*(sized.c[name] for name in names), sized.c.matched)
        .where((sized.c.bytes <= limits.PAGE_BYTES) | (sized.c.bytes == sized.c.size))
        .order_by(in_list_order(sized.c.id, wanted.order))
        .limit(items)
        .subquery("cut")
    )
    matched = func.coalesce(cut.c.matched, 0).label("matched")
    last_examined = case((matched <= items, last_examined_id(wanted).scalar_subquery())).label("last_examined")
    always = select(true().label("row")).subquery("always")
    return Statement(
        select(*(cut.c[name] for name in names), matched, last_examined)
        .select_from(always.outerjoin(cut, true()))
        .order_by(in_list_order(cut.c.id, wanted.order)),
        "Returns a page of tasks, how many matched, and the last id examined if the limit of rows was reached.",
        indexes=indexes(wanted),
        is_built=True,
    )


def total(wanted: TaskFilter) -> Statement:
    """Build the select of how many rows are examined, and how many of them match."""
    seen = aliased(TaskRow, examined(wanted))
    matching = func.count().filter(literal(True), *match_conditions(seen, wanted))  # SQL's own constant
    return Statement(
        select(matching.label("matching"), func.count().label("examined")).select_from(seen),
        "Counts the tasks examined, and those of them that match.",
        indexes=indexes(wanted),
        is_built=True,
    )


def last_examined_id(wanted: TaskFilter) -> Select[UUID]:
    """Return the select of the last id examined if the limit was reached, else of no row."""
    return (
        select(TaskRow.id)
        .where(*bounds(wanted))
        .order_by(in_list_order(TaskRow.id, wanted.order))
        .offset(limits.EXAMINED_ROWS_MAX - 1)
        .limit(1)
    )


def examined(wanted: TaskFilter) -> Subquery:
    """Return the rows that a page reads, in the order of the list: at most `limits.EXAMINED_ROWS_MAX`."""
    return (
        select(*TaskRow.__table__.c)
        .where(*bounds(wanted))
        .order_by(in_list_order(TaskRow.id, wanted.order))
        .limit(limits.EXAMINED_ROWS_MAX)
        .subquery("examined")
    )


def _size(seen: type[TaskRow], *, is_full: bool) -> ColumnElement[int]:
    """Return how large a task is in an answer. Bodies are not read for it, smaller texts are, as JSON writes them."""
    texts = (seen.name, seen.description, seen.labels, seen.progress, seen.error)
    summary = func.octet_length(func.concat(*map(func.to_json, texts))) + literal(_FIXED_BYTES)
    return summary + seen.payload_bytes + seen.result_bytes if is_full else summary


def in_list_order(key: SQLColumnExpression[UUID], order: SortOrder) -> ColumnElement[UUID]:
    """Return an id as ORDER BY wants it for a list."""
    return key.desc() if order is SortOrder.NEWEST else key.asc()
