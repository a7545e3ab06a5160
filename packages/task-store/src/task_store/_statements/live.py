"""What people and the API ask about workers: who lives, and which types they offer in which versions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Interval,
    SQLColumnExpression,
    Text,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.orm import aliased

from task_contracts import limits
from task_store._models import OfferRow, WorkerRow
from task_store._statements.parameters import unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant
from task_store._statements.workers import is_live, may_reach_broker, seconds, silent_seconds


def _lease(worker: type[WorkerRow], part: int) -> ColumnElement[Any]:
    """Return a part of the lease of a worker, which knows how long it is."""
    return func.make_interval(0, 0, 0, 0, 0, 0, worker.lease_seconds / constant(part), type_=Interval())


# As ELECT picks it, by what each worker has written: three intervals of the election are half of a lease.
_candidate = aliased(WorkerRow, name="candidate")
_leader = (
    select(_candidate.id)
    .where(
        _candidate.dead_at.is_(None),
        _candidate.expires_at > NOW,
        _candidate.draining_at.is_(None),
        _candidate.ticked_at > NOW - _lease(_candidate, 2),
    )
    .order_by(
        (_candidate.steady_since <= NOW - _lease(_candidate, 1)).desc(), _candidate.reaches_broker.desc(), _candidate.id
    )
    .limit(constant(1))
    .scalar_subquery()
)
_SHOWN: tuple[SQLColumnExpression[Any], ...] = (
    *(WorkerRow.id, WorkerRow.host, WorkerRow.pid, WorkerRow.version, WorkerRow.queues, WorkerRow.types),
    *(WorkerRow.slots, WorkerRow.in_flight, WorkerRow.started_at),
)

LIVE_WORKERS = Statement(
    select(
        *_SHOWN,
        WorkerRow.expires_at.label("lease_expires_at"),
        seconds(WorkerRow.expires_at - NOW).label("lease_remaining_seconds"),
        silent_seconds().label("silent_seconds"),
        func.coalesce(WorkerRow.id == _leader, literal(False)).label("is_leader"),
        WorkerRow.draining_at.is_not(None).label("draining"),
        may_reach_broker().label("reaches_broker"),
    )
    .where(is_live())
    .order_by(WorkerRow.id),
    "Returns the live workers, those too that drain, the oldest first.",
    indexes=("ix_workers_live",),
)

LIVE_VERSIONS = Statement(
    select(WorkerRow.queues, WorkerRow.types, WorkerRow.schema_hashes, func.count().label("workers"))
    .where(is_live(), WorkerRow.draining_at.is_(None))
    .group_by(WorkerRow.queues, WorkerRow.types, WorkerRow.schema_hashes),
    "Returns which versions of types live workers offer for which queues, and how many workers they are: one row for"
    " all that serve and offer the same. Those that drain do not count.",
    indexes=("ix_workers_live",),
)

_asked = unnested("asked", queue=Text(), type=Text(), schema_hash=Text())
_row = (
    select(OfferRow.payload_schema)
    .where(
        OfferRow.queue == _asked.c.queue,
        OfferRow.type == _asked.c.type,
        OfferRow.schema_hash == _asked.c.schema_hash,
    )
    .limit(constant(1))
    .lateral("row")
)

SCHEMAS = Statement(
    select(_asked.c.queue, _asked.c.type, _asked.c.schema_hash, _row.c.payload_schema).select_from(
        _asked.join(_row, true())
    ),
    "Returns the JSON Schemas of these versions of types; none of one whose worker has not written it yet. The arrays"
    " have one length.",
    indexes=("pk_task_types",),
)

OFFERED = Statement(
    select(OfferRow.queue, OfferRow.type, OfferRow.schema_hash, OfferRow.payload_schema, OfferRow.last_offered_at)
    .where(OfferRow.last_offered_at > NOW - func.make_interval(0, 0, 0, limits.UNKNOWN_TYPE_DAYS))
    .order_by(OfferRow.queue, OfferRow.type, OfferRow.last_offered_at.desc()),
    "Returns each version of a type that was offered within seven days, the latest first.",
    scans=("task_types",),
)
