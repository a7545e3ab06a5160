"""What a filter of tasks means: the conditions by which an index finds rows, and those that a row must meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, and_, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from task_contracts import SortOrder, limits
from task_contracts.lifecycle import Event, sources
from task_store._models import TaskRow
from task_store._statements.transitions import constant, is_held, is_status
from task_store.records import TaskFilter

_KEY_SLACK = timedelta(days=1)
"""How far the clock of the API, which makes ids, may be from the database's, which makes `created_at`."""
UNSUCCESSFUL = sources(Event.RERUN)
"""What `ix_tasks_unsuccessful` holds."""


def indexes(wanted: TaskFilter) -> tuple[str, ...]:
    """Return the indexes by which a page finds its rows."""
    if wanted.idempotency_key is not None:
        return ("ix_tasks_idempotency_key", "pk_tasks")
    if wanted.worker_id is not None:
        return ("ix_tasks_running", "pk_tasks")
    if wanted.ids:
        return ("pk_tasks",)
    if wanted.fingerprint is not None:
        return ("ix_tasks_fingerprint",)
    return ("ix_tasks_unsuccessful",) if _is_unsuccessful(wanted) else ("pk_tasks",)


def _is_unsuccessful(wanted: TaskFilter) -> bool:
    # Where there are ids, these are looked up: PostgreSQL could otherwise read all of an index that it believes to be
    # empty. A fingerprint has an index of its own.
    has_index = wanted.ids or wanted.fingerprint is not None or wanted.worker_id is not None
    return bool(wanted.statuses) and wanted.statuses <= UNSUCCESSFUL and not has_index


def bounds(wanted: TaskFilter) -> list[ColumnElement[bool]]:
    """Return the conditions by which an index finds rows: those on the id, the key, the worker and the failure."""
    key, is_newest = TaskRow.id, wanted.order is SortOrder.NEWEST
    found = [
        *(_is_before(moment, _KEY_SLACK) for moment in (wanted.created_to, wanted.finished_to) if moment),
        *([key >= _first_key(wanted.created_from, -_KEY_SLACK)] if wanted.created_from else ()),
        *([key < wanted.after if is_newest else key > wanted.after] if wanted.after else ()),
        *([_begins_with(wanted.id_prefix)] if wanted.id_prefix else ()),
    ]
    return [*found, *_selective_bounds(wanted)]


def _selective_bounds(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.ids:
        yield TaskRow.id == any_(literal(list(wanted.ids), ARRAY(Uuid())))
    if wanted.idempotency_key is not None:
        yield _is_one_of_key(wanted.scope, wanted.idempotency_key)
    if wanted.worker_id is not None:
        yield _is_run_by(wanted.worker_id)
    elif wanted.fingerprint is not None and not wanted.ids:
        yield TaskRow.fingerprint == wanted.fingerprint
    if _is_unsuccessful(wanted):
        yield is_status(UNSUCCESSFUL)


def _is_before(moment: datetime, slack: timedelta) -> ColumnElement[bool]:
    """Return the condition that a task was created before a time, and so has not ended before either."""
    return TaskRow.id < _first_key(moment, slack)


def _begins_with(digits: str) -> ColumnElement[bool]:
    """Return the condition that an id begins with these hex digits."""
    rest = len(UUID(int=0).hex) - len(digits)
    return TaskRow.id.between(UUID(digits + "0" * rest), UUID(digits + "f" * rest))


def is_of_key(
    scope: ColumnElement[str], key: ColumnElement[str], task: type[TaskRow] = TaskRow
) -> list[ColumnElement[bool]]:
    """Return the conditions that a task was created with this key, alone or in a batch.

    In the order of bytes, between the key and the key with "!" there are just the keys that add a space and more to
    it: "!" is the character behind the space, the first one that a caller's key may have.
    """
    end = func.concat(key, constant("!"), type_=Text(collation="C"))
    return [task.scope == scope, task.idempotency_key >= key, task.idempotency_key < end]


def _is_one_of_key(scope: str, key: str) -> ColumnElement[bool]:
    """Return the condition that a task is among those of a key, by their ids.

    By the key itself, PostgreSQL may prefer to read the table in order until a page is full.
    """
    ones = aliased(TaskRow, name="of_key")
    conditions = is_of_key(literal(scope), literal(key, Text(collation="C")), ones)
    ids: ColumnElement[Any] = func.array(select(ones.id).where(*conditions).scalar_subquery())
    return TaskRow.id == any_(ids)


def _is_run_by(worker_id: UUID) -> ColumnElement[bool]:
    """Return the condition that a task is among those that a worker runs, by their ids: as in `_is_one_of_key`."""
    ones = aliased(TaskRow, name="of_worker")
    held = select(ones.id).where(is_held(ones), ones.worker_id == worker_id).limit(limits.EXAMINED_ROWS_MAX)
    ids: ColumnElement[Any] = func.array(held.scalar_subquery())
    return TaskRow.id == any_(ids)


def match_conditions(seen: type[TaskRow], wanted: TaskFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that a filter sets, but for its ids, its key and its place in the list."""
    conditions: list[tuple[object, Callable[[Any], ColumnElement[bool]]]] = [
        (wanted.statuses, lambda statuses: seen.status.in_(sorted(statuses))),
        (wanted.priorities, lambda priorities: seen.priority.in_(sorted(priorities))),
        (wanted.type, lambda type_: seen.type == type_),
        (wanted.queue, lambda queue: seen.queue == queue),
        (wanted.name, lambda name: seen.name.icontains(name, autoescape=True)),
        (wanted.created_from, lambda moment: seen.created_at >= moment),
        (wanted.created_to, lambda moment: seen.created_at < moment),
        (wanted.fingerprint, lambda fingerprint: seen.fingerprint == fingerprint),
        (wanted.worker_id, lambda worker_id: and_(seen.worker_id == worker_id, is_held(seen))),
        (wanted.finished_from, lambda moment: seen.finished_at >= moment),
        (wanted.finished_to, lambda moment: seen.finished_at < moment),
    ]
    labels: list[ColumnElement[bool]] = [seen.labels.contains({key: value}) for key, value in wanted.labels]
    return labels + [condition(value) for value, condition in conditions if value]


def _first_key(moment: datetime, slack: timedelta) -> UUID:
    """Return the smallest UUIDv7 (RFC 9562, section 5.7) for `moment + slack`: its first 48 bits are milliseconds.

    Added as a number of seconds: on the first and the last day of the calendar a datetime cannot hold the sum.
    """
    seconds = moment.timestamp() + slack.total_seconds()
    return UUID(int=max(0, int(seconds * 1000)) << 80)
