"""Leases, elections and offers: what workers write about themselves and read about one another."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Double,
    Integer,
    Interval,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    delete,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.orm import aliased

from task_store._models import OfferRow, TaskRow, WorkerRow
from task_store._statements.lookups import holders, only_test
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, is_held
from task_store.schema import SCHEMA_REVISION

_me = parameter("worker_id", Uuid())
_lease = parameter("lease", Interval())
_this_worker = WorkerRow.id == _me
_is_mine = and_(_this_worker, WorkerRow.dead_at.is_(None))


def is_live() -> ColumnElement[bool]:
    """Return the condition that a worker may act: it was not declared dead, and its lease has not expired."""
    return and_(WorkerRow.dead_at.is_(None), WorkerRow.expires_at > NOW)


def may_reach_broker() -> ColumnElement[bool]:
    """Return the condition that a worker reaches the broker, or has not said so yet: it does at its first election."""
    return or_(WorkerRow.reaches_broker, WorkerRow.ticked_at.is_(None))


def seconds(duration: ColumnElement[Any]) -> ColumnElement[float]:
    """Return an interval in seconds."""
    return cast(func.extract("epoch", duration), Double())


def silent_seconds() -> ColumnElement[float | None]:
    """Return for how long a worker has not renewed its lease, or NULL where that is no sign of trouble.

    It renews six times a lease (`task_worker.lease.heartbeat`): after a third of one, two renewals are missing.
    """
    silent = WorkerRow.lease_seconds - seconds(WorkerRow.expires_at - NOW)
    return case((silent * constant(3) > WorkerRow.lease_seconds, silent))


REGISTER = Statement(
    insert(WorkerRow).values(
        id=_me,
        queues=parameter("queues", ARRAY(Text)),
        types=parameter("types", ARRAY(Text)),
        schema_hashes=parameter("schema_hashes", ARRAY(Text)),
        host=parameter("host", Text()),
        pid=parameter("pid", Integer()),
        version=parameter("version", Text()),
        slots=parameter("slots", Integer()),
        lease_seconds=seconds(_lease),
        started_at=NOW,
        expires_at=NOW + _lease,
        reaches_broker=False,
        schema_revision=constant(SCHEMA_REVISION),
    ),
    "Begins the lease of a worker under a new id. `schema_hashes` are those of `types`, in their order.",
)

RENEW = Statement(
    update(WorkerRow)
    .values(expires_at=NOW + _lease, in_flight=parameter("in_flight", Integer()))
    .where(_is_mine)
    .returning(WorkerRow.id),
    "Prolongs the lease of a worker to `lease` from now, also one that has expired, and writes how many tasks it has in"
    " flight. Returns no row if it is dead.",
    indexes=("pk_workers",),
)

HELD = Statement(
    select(
        TaskRow.id, TaskRow.lease_token, TaskRow.cancel_requested_at.is_not(None).label("is_cancel_requested")
    ).where(TaskRow.worker_id == _me, is_held()),
    "Returns the tasks that a worker holds, for the worker to compare with what it knows.",
    indexes=("ix_tasks_running",),
)

_asked = unnested("asked", id=Uuid())
_among = (
    select(TaskRow.id, TaskRow.lease_token, TaskRow.cancel_requested_at.is_not(None).label("is_cancel_requested"))
    .where(TaskRow.id == _asked.c.id, only_test(and_(TaskRow.worker_id == _me, is_held())))
    .lateral("held")
)

HELD_AMONG = Statement(
    select(_among).select_from(_asked.join(_among, true())),
    "Returns those of some tasks that a worker holds: what HELD returns, without a scan of the index.",
    indexes=("pk_tasks",),
)

DRAIN = Statement(
    update(WorkerRow).values(draining_at=func.coalesce(WorkerRow.draining_at, NOW)).where(_is_mine),
    "Says that a worker takes no more tasks: if it is lost after that, no task's lost_count rises.",
    indexes=("pk_workers",),
)

RETIRE = Statement(
    update(WorkerRow).values(dead_at=NOW).where(_is_mine),
    "Ends the lease of a worker that stops. If it does not drain, the tasks that it still holds count a loss.",
    indexes=("pk_workers",),
)


# ELECT. A tick is the write of one election (`ticked_at`). Of the live workers that ticked within three intervals and
# do not drain, the leader is the first by these rules:
# 1. steady, that is with no gap of over two intervals between its ticks for a lease, before others;
# 2. reaching the broker before others;
# 3. the smallest id, which is that of the oldest worker.
_interval = parameter("interval", Interval())
_can_lead = and_(is_live(), WorkerRow.draining_at.is_(None))


def _ago(intervals: int) -> ColumnElement[Any]:
    return NOW - _interval.op("*", return_type=Interval())(constant(intervals))  # plain `*` warns (SQLAlchemy 2.1)


_ticked = (
    update(WorkerRow)
    .values(
        ticked_at=NOW,
        reaches_broker=parameter("reaches_broker", Boolean()),
        # After a gap of more than two intervals the worker is steady from now on only.
        steady_since=case((WorkerRow.ticked_at >= _ago(2), WorkerRow.steady_since), else_=NOW),
    )
    .where(_is_mine)
    .returning(WorkerRow.id, WorkerRow.steady_since, WorkerRow.reaches_broker, _can_lead.label("can_lead"))
    .cte("me")
)
_i = select(_ticked.c.id, _ticked.c.steady_since, _ticked.c.reaches_broker).where(_ticked.c.can_lead)
_others = select(WorkerRow.id, WorkerRow.steady_since, WorkerRow.reaches_broker).where(
    WorkerRow.id != _me, _can_lead, WorkerRow.ticked_at > _ago(3)
)
_candidates = union_all(_i, _others).subquery("candidates")
_leader = (
    select(_candidates.c.id)
    .order_by(
        (_candidates.c.steady_since <= NOW - _lease).desc(), _candidates.c.reaches_broker.desc(), _candidates.c.id
    )
    .limit(1)
)

ELECT = Statement(
    select(_leader.scalar_subquery().label("leader_id")).select_from(_ticked),
    "Writes a worker's tick and returns which worker leads, or NULL. Returns no row if the worker is dead.",
    indexes=("pk_workers", "ix_workers_live"),
)


# The first step of the sweep. Only a worker whose own ticks have come without a gap for a lease, up to now, may
# declare others dead: after an outage or a jump of the clock nobody has renewed, and healthy work must not run again
# everywhere. (`steady_since` alone is not enough: a statement that a frozen server runs once it thaws would declare all
# workers dead.)
_steady_me = aliased(WorkerRow)
_third_of_lease = _lease.op("/", return_type=Interval())(constant(3))  # two intervals
_i_am_steady = exists(
    select(constant(1)).where(
        _steady_me.id == _me,
        _steady_me.dead_at.is_(None),
        _steady_me.steady_since <= NOW - _lease,
        _steady_me.ticked_at >= NOW - _third_of_lease,
    )
)

DECLARE_DEAD = Statement(
    update(WorkerRow)
    .values(dead_at=NOW)
    .where(WorkerRow.dead_at.is_(None), WorkerRow.expires_at <= NOW, _i_am_steady)
    .returning(WorkerRow.id, WorkerRow.host, WorkerRow.pid),
    "Declares the workers dead whose leases have expired, and returns them; none unless the worker `worker_id` has"
    " itself ticked without a gap for a lease.",
    indexes=("pk_workers", "ix_workers_live"),
)

# The second step: the dead among the workers that hold tasks. The rows of these are looked up by the primary key, each
# by itself: a join may become a hash join with the whole table.
_holders = holders()


def _row_of_holder(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(WorkerRow.id).where(WorkerRow.id == _holders.c.worker_id, *conditions).limit(constant(1))


_nobody: ColumnElement[Any] = literal([], ARRAY(Text))
_unknown = (
    insert(WorkerRow)
    .from_select(
        ["id", "queues", "types", "started_at", "expires_at", "reaches_broker", "dead_at"],
        select(_holders.c.worker_id, _nobody, _nobody, NOW, NOW, false(), NOW).where(  # a column's value
            _holders.c.worker_id.is_not(None), _row_of_holder().scalar_subquery().is_(None)
        ),
    )
    .on_conflict_do_nothing()
    .returning(WorkerRow.id)
    .cte("unknown")
)
_dead = _row_of_holder(WorkerRow.dead_at.is_not(None)).lateral("dead")

DEAD_HOLDERS = Statement(
    union_all(select(_dead.c.id).select_from(_holders.join(_dead, true())), select(_unknown.c.id)),
    "Returns the dead workers that hold tasks. A worker of a running task that has no row, as a failover may leave"
    " behind, gets a dead one, and is among them.",
    indexes=("ix_tasks_running", "pk_workers"),
)


LIVE_OFFERS = Statement(
    select(WorkerRow.queues, WorkerRow.types, func.count().label("workers"))
    .where(is_live(), WorkerRow.draining_at.is_(None))
    .group_by(WorkerRow.queues, WorkerRow.types),
    "Returns which types live workers offer for which queues, and how many workers they are: one row for all that serve"
    " and offer the same. Those that drain do not count.",
    indexes=("ix_workers_live",),
)

_offered = unnested("offered", queue=Text(), type=Text(), schema_hash=Text(), payload_schema=Text())
_offered_schema = cast(_offered.c.payload_schema, JSONB)
_is_fresh = exists(
    select(constant(1)).where(
        OfferRow.queue == _offered.c.queue,
        OfferRow.type == _offered.c.type,
        OfferRow.schema_hash == _offered.c.schema_hash,
        OfferRow.last_offered_at > NOW - parameter("fresh", Interval()),
    )
)
_insert_offers = insert(OfferRow).from_select(
    ["queue", "type", "schema_hash", "payload_schema", "last_offered_at"],
    select(_offered.c.queue, _offered.c.type, _offered.c.schema_hash, _offered_schema, NOW)
    .where(~_is_fresh)
    .order_by(_offered.c.queue, _offered.c.type, _offered.c.schema_hash),
)

OFFER = Statement(
    _insert_offers.on_conflict_do_update(
        index_elements=[OfferRow.queue, OfferRow.type, OfferRow.schema_hash],
        set_={"last_offered_at": _insert_offers.excluded.last_offered_at},
    ),
    "Notes that types are offered for queues, and when; each version of a type, told by the hash of its schema, has a"
    " row of its own. What was offered less than `fresh` ago is only read. The arrays have one length; `payload_schema`"
    " holds JSON texts. Rows are written in one order, so that two workers that offer the same at once lock them in"
    " that order.",
    indexes=("pk_task_types",),
)

_live_offer = exists(
    select(constant(1)).where(
        is_live(),
        OfferRow.queue == any_(WorkerRow.queues),
        OfferRow.type == any_(WorkerRow.types),
        OfferRow.schema_hash == any_(WorkerRow.schema_hashes),
    )
)
_KEY = (OfferRow.queue, OfferRow.type, OfferRow.schema_hash)
_old_offers = (
    select(*_KEY)
    .where(OfferRow.last_offered_at < NOW - parameter("age", Interval()), ~_live_offer)
    .limit(parameter("rows", Integer()))
    .with_for_update(skip_locked=True)
    .cte("old_offers")
)

FORGET_OFFERS = Statement(
    delete(OfferRow).where(tuple_(*_KEY).in_(select(*_old_offers.c))).returning(OfferRow.type),
    "Deletes versions of types that no live worker offers and none has for `age`, at most `rows` of them. Skips what is"
    " locked: it is being offered anew.",
    indexes=("ix_workers_live", "pk_task_types"),
    scans=("task_types",),
)

_holds = exists(select(constant(1)).where(TaskRow.worker_id == WorkerRow.id, is_held()))

_gone = (
    select(WorkerRow.id)
    .where(WorkerRow.dead_at < NOW - parameter("age", Interval()), ~_holds)
    .limit(parameter("rows", Integer()))
    .with_for_update(skip_locked=True)
    .cte("gone")
)

FORGET_DEAD = Statement(
    delete(WorkerRow)
    .where(WorkerRow.id == any_(func.array(select(_gone.c.id).scalar_subquery())))
    .returning(WorkerRow.id),
    "Deletes the rows of workers that have been dead for `age` and hold nothing, at most `rows` of them. (Should a task"
    " of one turn up after all, DEAD_HOLDERS inserts the row again.)",
    indexes=("ix_tasks_running", "pk_workers"),
    scans=("workers",),
)
