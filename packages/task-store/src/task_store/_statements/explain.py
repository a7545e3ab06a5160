"""Why a task is where it is: its row beside that of its worker, and for a waiting one what is before it."""

from __future__ import annotations

from sqlalchemy import DateTime, Text, Uuid, any_, case, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from task_contracts import limits
from task_store._models import TaskRow, WorkerRow
from task_store._statements.parameters import parameter
from task_store._statements.pauses import covering
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, is_waiting
from task_store._statements.workers import is_live, may_reach_broker, silent_seconds

_TYPES_MAX = 1_000
"""How many types are looked at for one that is like the task's."""

_worker = (
    select(
        *(WorkerRow.host, WorkerRow.pid, WorkerRow.expires_at, WorkerRow.dead_at, WorkerRow.draining_at),
        silent_seconds().label("silent_seconds"),
    )
    .where(WorkerRow.id == TaskRow.worker_id)
    .limit(constant(1))
    .lateral("worker")
)

TASK = Statement(
    select(
        *(TaskRow.id, TaskRow.status, TaskRow.type, TaskRow.queue, TaskRow.priority, TaskRow.due_at),
        *(TaskRow.attempt, TaskRow.failures, TaskRow.lost_count, TaskRow.timeout_seconds, TaskRow.error),
        *(TaskRow.cancel_requested_at, TaskRow.started_at, TaskRow.finished_at, TaskRow.worker_id),
        NOW.label("now"),
        *(_worker.c.host, _worker.c.pid, _worker.c.expires_at, _worker.c.dead_at, _worker.c.draining_at),
        _worker.c.silent_seconds,
    )
    .select_from(TaskRow.__table__.outerjoin(_worker, true()))
    .where(TaskRow.id == parameter("task_id", Uuid())),
    "Returns the state of a task, nothing that may be large, and of its worker where that has a row.",
    indexes=("pk_tasks", "pk_workers"),
)

_queue, _type = parameter("queue", Text()), parameter("type", Text())

# Backwards from the task itself: so it meets those that wait first, and last the dead entries of those that have been
# taken, which an old snapshot keeps at the front of the lane.
_before = (
    select(constant(1))
    .where(
        TaskRow.queue == _queue,
        TaskRow.priority == parameter("priority", Text()),
        TaskRow.type == _type,
        is_waiting(),
        tuple_(TaskRow.due_at, TaskRow.id)
        < tuple_(parameter("due_at", DateTime(timezone=True)), parameter("task_id", Uuid())),
    )
    .order_by(TaskRow.due_at.desc(), TaskRow.id.desc())
    .limit(constant(limits.AHEAD_MAX + 1))
    .subquery("before")
)
_takers = (
    select(
        WorkerRow.types,
        WorkerRow.slots,
        WorkerRow.in_flight,
        WorkerRow.draining_at.is_(None).label("takes_tasks"),
        (WorkerRow.draining_at.is_(None) & (_type == any_(WorkerRow.types))).label("offers_type"),
        may_reach_broker().label("reaches_broker"),
    )
    .where(is_live(), _queue == any_(WorkerRow.queues))
    .cte("takers")
)
_kinds = select(_takers.c.types).where(_takers.c.takes_tasks).distinct().subquery("kinds")
_each = func.unnest(_kinds.c.types).table_valued("type").render_derived(name="each")
_types = (
    select(_each.c.type)
    .select_from(_kinds.join(_each, true()))
    .distinct()
    .limit(constant(_TYPES_MAX))
    .subquery("types")
)
_offering = _takers.c.offers_type

_counts = (
    select(
        select(func.count()).select_from(_before).scalar_subquery().label("ahead"),
        func.count().filter(_takers.c.takes_tasks).label("takers"),
        func.count().filter(~_takers.c.takes_tasks).label("draining"),
        func.count().filter(_offering).label("offering"),
        func.count().filter(_offering, _takers.c.reaches_broker).label("reaching_broker"),
        func.coalesce(func.sum(_takers.c.slots - _takers.c.in_flight).filter(_offering), constant(0)).label(
            "free_slots"
        ),
        case(
            (
                func.count().filter(_offering) == constant(0),
                select(func.array_agg(_types.c.type, type_=ARRAY(Text))).scalar_subquery(),
            )
        ).label("types"),
    )
    .select_from(_takers)
    .subquery("counts")
)

PAUSE_PREFIX = "pause_"

WAIT = Statement(
    select(*_counts.c, *(column.label(f"{PAUSE_PREFIX}{column.key}") for column in covering.c)).select_from(
        _counts.outerjoin(covering, true())
    ),
    "Returns how many tasks of a task's queue, priority and type are due before it, counted up to a limit; and of the"
    " live workers of its queue how many take tasks, drain, offer its type and reach the broker. `types` are those on"
    " offer, where its own is not among them. The columns"
    " `pause_…` are of the newest pause that covers it, NULL without one.",
    indexes=("ix_tasks_waiting", "ix_workers_live", "ix_pauses_open"),
)
