"""Finds rows by their ids in forms for which PostgreSQL always uses the primary key.

The statistics of a queue are always out of date: the planner believes that almost nothing waits or runs, or that a
batch of a few ids is a tenth of the table. `tests/integration/test_plans.py` checks the plans of every hot statement.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    ScalarSelect,
    SQLColumnExpression,
    and_,
    any_,
    case,
    false,
    func,
    select,
    true,
)
from sqlalchemy.sql.selectable import LateralFromClause

from task_store._models import TaskRow
from task_store._statements.transitions import NOW, constant, is_held

clock = select(NOW.label("now")).subquery("clock")
"""The time of a statement, as a relation of one row: outer-joined, it is there where nothing else was found."""


def only_test(conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return conditions as a CASE: it tests a row that was found, and the planner cannot use it to find rows.

    Without it, PostgreSQL looks up each id of a batch by reading the whole of a partial index that it believes to be
    empty (measured on version 15: 0.6 s to mark 150 ids beside 20,000 waiting tasks).
    """
    return case((conditions, true()), else_=false())


def locked_row(
    task_id: SQLColumnExpression[UUID],
    conditions: ColumnElement[bool],
    *columns: SQLColumnExpression[Any],
    name: str,
    skip_locked: bool = True,
) -> LateralFromClause:
    """Return a LATERAL sub-select: the row of `task_id`, locked, if it meets the conditions once it is locked.

    It has the column `id`, and `columns`.
    """
    row = select(TaskRow.id, *columns).where(TaskRow.id == task_id, only_test(conditions))
    return row.with_for_update(skip_locked=skip_locked).lateral(name)


def rows_of_leases(written: FromClause, *columns: SQLColumnExpression[Any]) -> CTE:
    """Return a CTE of the tasks whose leases `written` names, locked: the column `id`, and `columns` of `written`.

    `written` has the columns id and lease_token, and is sorted by id. A lease that no longer holds is left out.
    """
    is_of_lease = and_(is_held(), TaskRow.lease_token == written.c.lease_token)
    row = locked_row(written.c.id, is_of_lease, name="row", skip_locked=False)
    return select(row.c.id, *columns).select_from(written.join(row, true())).cte("locked")


def is_in_lane(lane: FromClause) -> ColumnElement[bool]:
    """Return the condition that a task is of this queue, priority and type, and due at `since` or later."""
    return and_(
        TaskRow.queue == lane.c.queue,
        TaskRow.priority == lane.c.priority,
        TaskRow.type == lane.c.type,
        TaskRow.due_at >= lane.c.since,
    )


def holders() -> CTE:
    """Return a CTE of the workers that hold tasks, each once, in the column `worker_id`.

    It goes from one to the next in the index of running tasks, so its cost is the number of these workers: neither that
    of the running tasks, nor that of the dead workers.
    """
    first = _holder(true()).label("worker_id")
    hops = select(first).cte("holders", recursive=True)
    following = select(_holder(TaskRow.worker_id > hops.c.worker_id)).where(hops.c.worker_id.is_not(None))
    return hops.union_all(following)  # its last row is NULL


def _holder(condition: ColumnElement[bool]) -> ScalarSelect[UUID | None]:
    row = select(TaskRow.worker_id).where(is_held(), condition)
    return row.order_by(TaskRow.worker_id).limit(constant(1)).scalar_subquery()


def is_picked(picked: CTE) -> ColumnElement[bool]:
    """Return the condition that a task is one of the rows that `picked` has locked, by their ids.

    Where the planner believes that many were picked, a join would be a hash join with the whole table.
    """
    ids: ColumnElement[Any] = func.array(select(picked.c.id).scalar_subquery())
    return TaskRow.id == any_(ids)
