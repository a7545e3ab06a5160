"""Reads the attempts of one task: those that are kept beside it, and the one that its own row shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    FromClause,
    Integer,
    SQLColumnExpression,
    Text,
    Uuid,
    case,
    cast,
    func,
    null,
    select,
    true,
    union_all,
)

from task_contracts.lifecycle import LIFECYCLE, Event
from task_store._models import AttemptRow, TaskRow, WorkerRow
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import constant, is_held, is_status

_task_id = parameter("task_id", Uuid())
_bytes = parameter("bytes", BigInteger())


def _worker_of(worker_id: SQLColumnExpression[Any], name: str) -> FromClause:
    """Return the row of a worker, of which host and pid are NULL where they were never written."""
    empty, zero = constant(""), constant(0)
    return (
        select(func.nullif(WorkerRow.host, empty).label("host"), func.nullif(WorkerRow.pid, zero).label("pid"))
        .where(WorkerRow.id == worker_id)
        .lateral(name)
    )


_completed = LIFECYCLE[Event.COMPLETE].target
_is_completed = is_status([_completed] if _completed else [])
_of_task = _worker_of(TaskRow.worker_id, "worker_of_task")
_is_shown = is_held() | _is_completed
# A row for each task that exists, so that one without attempts is told from none: its number is NULL then.
_own = (
    select(
        case((_is_shown, TaskRow.attempt)).label("attempt"),
        case((_is_completed, constant(Event.COMPLETE))).label("outcome"),
        TaskRow.worker_id,
        _of_task.c.host,
        _of_task.c.pid,
        TaskRow.started_at,
        TaskRow.finished_at.label("ended_at"),
        cast(null(), JSON).label("error"),
        cast(null(), Text()).label("traceback"),
    )
    .select_from(TaskRow.__table__.outerjoin(_of_task, true()))
    .where(TaskRow.id == _task_id)
)
_latest = (
    select(AttemptRow)
    .where(AttemptRow.task_id == _task_id)
    .order_by(AttemptRow.attempt.desc())
    .limit(parameter("rows", Integer()))
    .subquery("latest")
)
_size = func.coalesce(func.octet_length(cast(_latest.c.error, Text())), constant(0)) + func.coalesce(
    func.octet_length(_latest.c.traceback), constant(0)
)
_sized = select(_latest, func.sum(_size).over(order_by=_latest.c.attempt.desc()).label("bytes")).subquery("sized")
_of_attempt = _worker_of(_sized.c.worker_id, "worker_of_attempt")
_fits = _sized.c.bytes <= _bytes
_LEFT_OUT = "(left out: the answer is full with those of later attempts)"
_kept = select(
    _sized.c.attempt,
    _sized.c.outcome,
    _sized.c.worker_id,
    func.coalesce(_sized.c.host, _of_attempt.c.host).label("host"),
    func.coalesce(_sized.c.pid, _of_attempt.c.pid).label("pid"),
    _sized.c.started_at,
    _sized.c.ended_at,
    case((_fits, cast(_sized.c.error, JSON))).label("error"),
    case(
        (_fits, _sized.c.traceback),
        (_sized.c.traceback.is_not(None), constant(_LEFT_OUT)),
    ).label("traceback"),
).select_from(_sized.outerjoin(_of_attempt, true()))
_all = union_all(_kept, _own).subquery("all")

ATTEMPTS = Statement(
    select(_all).order_by(_all.c.attempt),
    "Returns the attempts of a task, the latest `rows` of them, the earliest first: those in `task_attempts`, and from"
    " its own row the one that runs or has completed, or a row whose `attempt` is NULL. No row if there is no such"
    " task. Errors and tracebacks are left out where those of later attempts exceed `bytes` together.",
    indexes=("pk_tasks", "pk_task_attempts", "pk_workers"),
)
