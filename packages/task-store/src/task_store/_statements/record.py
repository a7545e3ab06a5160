"""Ends attempts: `RECORD` by the worker that holds them, `SWEEP` by the leader for dead workers.

Both pick an event for each row that they lock, write the row by one CASE, and add a row to `task_attempts` for every
attempt that neither completed nor snoozed. It is one statement, so nothing can stop it between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    JSON,
    BindParameter,
    ColumnElement,
    Double,
    Integer,
    Select,
    Text,
    Uuid,
    cast,
    func,
    insert,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

from task_contracts import ErrorCode, limits
from task_contracts.lifecycle import RECORD as RECORD_EVENTS
from task_contracts.lifecycle import SWEEP as SWEEP_EVENTS
from task_contracts.lifecycle import WITHOUT_TRACE, Event, Guard, sources
from task_store._models import AttemptRow, TaskRow, WorkerRow
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import (
    NOW,
    ValueExpressions,
    constant,
    fingerprint_of,
    is_status,
    pick,
    values_of_picked,
)

_rows: BindParameter[int] = parameter("rows", Integer())
_CONTENT = ("result", "error", "traceback", "fingerprint", "delay_seconds")
_ATTEMPT = (TaskRow.lease_token, TaskRow.attempt, TaskRow.worker_id, TaskRow.started_at)


def _end(
    locked: CTE,
    events: Sequence[Event],
    given: ValueExpressions,
    *kept_too: ColumnElement[Any],
    shown: Sequence[InstrumentedAttribute[Any]] = (),
) -> Select[Any]:
    """Apply the event of each row of `locked`, keep the attempts that leave a trace, and return `Ended` rows.

    `locked` has the columns id and event, and those that `given` uses. `kept_too` are traceback, host and pid, as an
    attempt keeps them. The rows that are returned have the columns `shown` of the task too.
    """
    ended = (
        update(TaskRow)
        .values(values_of_picked(events, locked.c.event, given))
        .where(TaskRow.id == locked.c.id)
        .returning(
            TaskRow.id,
            *_ATTEMPT,
            TaskRow.error,
            TaskRow.lost_count,
            TaskRow.type,
            *shown,
            locked.c.event,
            *kept_too,
        )
        .cte("ended")
    )
    kept = (
        insert(AttemptRow)
        .from_select(
            [
                *("task_id", "attempt", "worker_id", "host", "pid"),
                *("started_at", "ended_at", "outcome", "error", "traceback"),
            ],
            select(
                ended.c.id,
                ended.c.attempt,
                ended.c.worker_id,
                ended.c.host,
                ended.c.pid,
                ended.c.started_at,
                func.greatest(NOW, ended.c.started_at),
                ended.c.event,
                ended.c.error,
                ended.c.traceback,
            ).where(ended.c.event.not_in([constant(event) for event in sorted(WITHOUT_TRACE)])),
        )
        .cte("kept")
    )
    names = ("id", "lease_token", "event", "type", "attempt", "worker_id", "lost_count", *(one.key for one in shown))
    return select(*(ended.c[name] for name in names)).add_cte(kept)


_asked = unnested(
    "asked",
    id=Uuid(),
    lease_token=Uuid(),
    event=Text(),
    result=Text(),
    error=Text(),
    traceback=Text(),
    fingerprint=Text(),
    delay_seconds=Double(),
)
_event = pick(RECORD_EVENTS, {Guard.LEASE_TOKEN: TaskRow.lease_token == _asked.c.lease_token}, asked=_asked.c.event)
# Told which rows to change, the statement waits for their locks (no SKIP LOCKED), in the order of the arrays. That is
# the order of the ids, so that two statements cannot wait for one another.
_row = (
    select(TaskRow.id, _event.label("event"))
    .where(TaskRow.id == _asked.c.id, _event.is_not(None))
    .with_for_update()
    .lateral("row")
)
_locked = (
    select(_row.c.id, _row.c.event, *(_asked.c[name] for name in _CONTENT))
    .select_from(_asked.join(_row, true()))
    .cte("locked")
)

RECORD = Statement(
    _end(
        _locked,
        RECORD_EVENTS,
        {
            "result": cast(_locked.c.result, JSON),
            "result_bytes": func.coalesce(func.octet_length(_locked.c.result), constant(0)),
            "error": cast(_locked.c.error, JSONB),
            "fingerprint": _locked.c.fingerprint,
            "delay": func.make_interval(0, 0, 0, 0, 0, 0, _locked.c.delay_seconds),
        },
        _locked.c.traceback,
        parameter("host", Text()).label("host"),
        parameter("pid", Integer()).label("pid"),
    ),
    "Ends attempts as their worker asks, and adds a row to `task_attempts` for each that neither completed nor"
    " snoozed, with the host and the process of its worker. The arrays"
    " have one length and are sorted by id; `result` and `error` are JSON texts. Returns the rows that were changed:"
    " one that is missing was no longer this worker's.",
    indexes=("pk_tasks",),
    tells_changes=True,
)


# Of these workers those that are dead, and for each of them its tasks.
_asked_workers = unnested("asked_workers", worker_id=Uuid())
_dead_row = (
    select(
        WorkerRow.id,
        WorkerRow.draining_at.is_not(None).label("was_draining"),
        func.nullif(WorkerRow.host, constant("")).label("host"),  # a row that DEAD_HOLDERS inserted does not know it
        func.nullif(WorkerRow.pid, constant(0)).label("pid"),
    )
    .where(WorkerRow.id == _asked_workers.c.worker_id, WorkerRow.dead_at.is_not(None))
    .limit(constant(1))  # by the primary key for each, never a join with the whole table
    .lateral("dead_row")
)
_dead_worker = select(*_dead_row.c).select_from(_asked_workers.join(_dead_row, true())).cte("dead")
_was_draining = _dead_worker.c.was_draining
_losses = TaskRow.lost_count + constant(1)
_lost = (
    select(
        TaskRow.id,
        pick(
            SWEEP_EVENTS,
            {
                Guard.WORKER_DEAD: TaskRow.worker_id == _dead_worker.c.id,
                Guard.BEARABLE_LOSS: (_losses < constant(limits.LOSSES_MAX)) | _was_draining,
                Guard.FATAL_LOSS: (_losses >= constant(limits.LOSSES_MAX)) & ~_was_draining,
            },
        ).label("event"),
    )
    .where(TaskRow.worker_id == _dead_worker.c.id, is_status(sources(*SWEEP_EVENTS)))
    .limit(_rows)
    .with_for_update(skip_locked=True)
    .lateral("lost")
)
_swept = (
    select(_lost.c.id, _lost.c.event, _was_draining, _dead_worker.c.host, _dead_worker.c.pid)
    .select_from(_dead_worker.join(_lost, true()))
    .limit(_rows)
    .cte("locked")
)

SWEEP = Statement(
    _end(
        _swept,
        SWEEP_EVENTS,
        {"was_draining": _swept.c.was_draining, "fingerprint": fingerprint_of(ErrorCode.WORKER_LOST)},
        cast(null(), Text()).label("traceback"),
        _swept.c.host,
        _swept.c.pid,
        shown=(TaskRow.queue, TaskRow.priority),
    ),
    "Ends the attempts of those of these workers that are dead, at most `rows` of them, and adds a row to"
    " `task_attempts` for each. Their tasks are brought back, or end. Skips what is locked.",
    indexes=("ix_tasks_running", "pk_tasks", "pk_workers"),
    tells_changes=True,
    tells_events=True,
)
