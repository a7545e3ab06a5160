"""Reads one task, or a page of many.

A page reads rows in the order of the primary key, which is the order of creation (UUIDv7), at most
`limits.EXAMINED_ROWS_MAX` of them: so its cost is bounded, whatever the filter. Where a page is short because that many
rows were examined, `last_examined` is the id after which the next page begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    Subquery,
    Text,
    Uuid,
    any_,
    case,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, aliased

from task_contracts import SortOrder, Task, TaskState, TaskSummary, limits
from task_contracts.lifecycle import Event, sources
from task_store._models import TaskRow
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant, is_status
from task_store.records import TaskFilter

_KEY_SLACK = timedelta(days=1)
"""How far the clock of the API, which makes ids, may be from the database's, which makes `created_at`."""
_FIXED_BYTES = 1500
"""Upper bound for the names of all fields, and for the columns whose values have one size: ids, times, numbers."""
UNSUCCESSFUL = sources(Event.RERUN)
"""What `ix_tasks_unsuccessful` holds."""


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


def _is_of_key(
    scope: ColumnElement[str], key: ColumnElement[str], task: type[TaskRow] = TaskRow
) -> list[ColumnElement[bool]]:
    """Return the conditions that a task was created with this key, alone or in a batch.

    In the order of bytes, between the key and the key with "!" there are just the keys that add a space and more to
    it: "!" is the character behind the space, the first one that a caller's key may have.
    """
    end = func.concat(key, constant("!"), type_=Text(collation="C"))
    return [task.scope == scope, task.idempotency_key >= key, task.idempotency_key < end]


GET_BATCH = Statement(
    select(*SUMMARY_COLUMNS, TaskRow.request_hash).where(*_is_of_key(_scope, _key)).order_by(TaskRow.id),
    "Returns the tasks that were created with this key, in their order, without what may be large, and the hash of the"
    " request.",
    indexes=("ix_tasks_idempotency_key",),
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
    )


def total(wanted: TaskFilter) -> Statement:
    """Build the select of how many rows are examined, and how many of them match."""
    seen = aliased(TaskRow, examined(wanted))
    matching = func.count().filter(literal(True), *match_conditions(seen, wanted))  # SQL's own constant
    return Statement(
        select(matching.label("matching"), func.count().label("examined")).select_from(seen),
        "Counts the tasks examined, and those of them that match.",
        indexes=indexes(wanted),
    )


def indexes(wanted: TaskFilter) -> tuple[str, ...]:
    """Return the indexes by which a page finds its rows."""
    if wanted.idempotency_key is not None:
        return ("ix_tasks_idempotency_key", "pk_tasks")
    return ("ix_tasks_unsuccessful",) if _is_unsuccessful(wanted) else ("pk_tasks",)


def _is_unsuccessful(wanted: TaskFilter) -> bool:
    # Given ids are looked up: PostgreSQL could otherwise read all of an index that it believes to be empty.
    return bool(wanted.statuses) and wanted.statuses <= UNSUCCESSFUL and not wanted.ids


def last_examined_id(wanted: TaskFilter) -> Select[UUID]:
    """Return the select of the last id examined if the limit was reached, else of no row."""
    return (
        select(TaskRow.id)
        .where(*_bounds(wanted))
        .order_by(in_list_order(TaskRow.id, wanted.order))
        .offset(limits.EXAMINED_ROWS_MAX - 1)
        .limit(1)
    )


def examined(wanted: TaskFilter) -> Subquery:
    """Return the rows that a page reads, in the order of the list: at most `limits.EXAMINED_ROWS_MAX`."""
    return (
        select(*TaskRow.__table__.c)
        .where(*_bounds(wanted))
        .order_by(in_list_order(TaskRow.id, wanted.order))
        .limit(limits.EXAMINED_ROWS_MAX)
        .subquery("examined")
    )


def _bounds(wanted: TaskFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that an index serves: those on the id and the key, and that a task was unsuccessful."""
    bounds: list[ColumnElement[bool]] = []
    if wanted.ids:
        bounds.append(TaskRow.id == any_(literal(list(wanted.ids), ARRAY(Uuid()))))
    if wanted.after is not None:
        is_newest = wanted.order is SortOrder.NEWEST
        bounds.append(TaskRow.id < wanted.after if is_newest else TaskRow.id > wanted.after)
    if wanted.created_from is not None:
        bounds.append(TaskRow.id >= _first_key(wanted.created_from, -_KEY_SLACK))
    if wanted.created_to is not None:
        bounds.append(TaskRow.id < _first_key(wanted.created_to, _KEY_SLACK))
    if wanted.idempotency_key is not None:
        bounds.append(_is_one_of_key(wanted.scope, wanted.idempotency_key))
    if _is_unsuccessful(wanted):
        bounds.append(is_status(UNSUCCESSFUL))
    return bounds


def _is_one_of_key(scope: str, key: str) -> ColumnElement[bool]:
    """Return the condition that a task is among those of a key, by their ids.

    By the key itself, PostgreSQL may prefer to read the table in order until a page is full.
    """
    ones = aliased(TaskRow, name="of_key")
    conditions = _is_of_key(literal(scope), literal(key, Text(collation="C")), ones)
    ids: ColumnElement[Any] = func.array(select(ones.id).where(*conditions).scalar_subquery())
    return TaskRow.id == any_(ids)


def match_conditions(seen: type[TaskRow], wanted: TaskFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that a filter sets, but for its ids, its key and its place in the list."""
    conditions: list[ColumnElement[bool]] = [seen.labels.contains({key: value}) for key, value in wanted.labels]
    if wanted.statuses:
        conditions.append(seen.status.in_(sorted(wanted.statuses)))
    if wanted.priorities:
        conditions.append(seen.priority.in_(sorted(wanted.priorities)))
    if wanted.type is not None:
        conditions.append(seen.type == wanted.type)
    if wanted.queue is not None:
        conditions.append(seen.queue == wanted.queue)
    if wanted.name is not None:
        conditions.append(seen.name.icontains(wanted.name, autoescape=True))
    if wanted.created_from is not None:
        conditions.append(seen.created_at >= wanted.created_from)
    if wanted.created_to is not None:
        conditions.append(seen.created_at < wanted.created_to)
    return conditions


def _size(seen: type[TaskRow], *, is_full: bool) -> ColumnElement[int]:
    """Return how large a task is in an answer. Bodies are not read for it, smaller texts are, as JSON writes them."""
    texts = (seen.name, seen.description, seen.labels, seen.progress, seen.error)
    summary = func.octet_length(func.concat(*map(func.to_json, texts))) + literal(_FIXED_BYTES)
    return summary + seen.payload_bytes + seen.result_bytes if is_full else summary


def in_list_order(key: SQLColumnExpression[UUID], order: SortOrder) -> ColumnElement[UUID]:
    """Return an id as ORDER BY wants it for a list."""
    return key.desc() if order is SortOrder.NEWEST else key.asc()


def _first_key(moment: datetime, slack: timedelta) -> UUID:
    """Return the smallest UUIDv7 (RFC 9562, section 5.7) for `moment + slack`: its first 48 bits are milliseconds.

    Added as a number of seconds: on the first and the last day of the calendar a datetime cannot hold the sum.
    """
    seconds = moment.timestamp() + slack.total_seconds()
    return UUID(int=max(0, int(seconds * 1000)) << 80)
