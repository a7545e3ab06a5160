"""REJECT: the leader fails tasks that no worker will run."""

from __future__ import annotations

from sqlalchemy import (
    BindParameter,
    Integer,
    Interval,
    Text,
    and_,
    any_,
    case,
    exists,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from task_contracts import REJECTED_FAILURE, limits
from task_contracts.lifecycle import Event, Guard, sources
from task_store._models import OfferRow, TaskRow, WorkerRow
from task_store._statements import pauses
from task_store._statements.lookups import is_picked
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, guards, is_status, values
from task_store._statements.workers import is_live

_NAMES_MAX = 10
"""How many of the types that are offered the error names."""

_rows: BindParameter[int] = parameter("rows", Integer())

# The types that wait are found by going from one to the next in the index of waiting tasks: a million tasks of one type
# cost one step.
_offers = select(WorkerRow.queues, WorkerRow.types).where(is_live()).distinct().cte("offers")
_queue = func.unnest(_offers.c.queues).table_valued("queue").render_derived(name="served")
_served = select(_queue.c.queue).select_from(_offers.join(_queue, true())).distinct().cte("served")
_priorities = unnested("priorities", priority=Text())
_is_waiting = is_status(sources(Event.REJECT))

_broker_queue = (
    select(_served.c.queue, _priorities.c.priority).select_from(_served.join(_priorities, true())).cte("broker_queue")
)
_first_type = (
    select(func.min(TaskRow.type))
    .where(TaskRow.queue == _broker_queue.c.queue, TaskRow.priority == _broker_queue.c.priority, _is_waiting)
    .scalar_subquery()
)
_hops = select(_broker_queue.c.queue, _broker_queue.c.priority, _first_type.label("type")).cte("hops", recursive=True)
_next_type = (
    select(func.min(TaskRow.type))
    .where(
        TaskRow.queue == _hops.c.queue, TaskRow.priority == _hops.c.priority, _is_waiting, TaskRow.type > _hops.c.type
    )
    .scalar_subquery()
)
_hops = _hops.union_all(select(_hops.c.queue, _hops.c.priority, _next_type).where(_hops.c.type.is_not(None)))

_offers_it = exists(
    select(constant(1)).where(_hops.c.queue == any_(_offers.c.queues), _hops.c.type == any_(_offers.c.types))
)
_offered_lately = exists(
    select(constant(1)).where(
        OfferRow.queue == _hops.c.queue,
        OfferRow.type == _hops.c.type,
        OfferRow.last_offered_at > NOW - func.make_interval(0, 0, 0, limits.UNKNOWN_TYPE_DAYS),
    )
)
_unknown = (
    select(_hops.c.queue, _hops.c.priority, _hops.c.type)
    .where(_hops.c.type.is_not(None), ~_offers_it, ~_offered_lately, ~pauses.is_lane_paused(_hops))
    .cte("unknown")
)
_due_for_a_lease = TaskRow.due_at <= NOW - parameter("lease", Interval())
_of_unknown_type = and_(
    TaskRow.queue == _unknown.c.queue,
    TaskRow.priority == _unknown.c.priority,
    TaskRow.type == _unknown.c.type,
    guards(
        Event.REJECT, {Guard.DUE_FOR_A_LEASE: _due_for_a_lease, Guard.TYPE_UNKNOWN: true(), Guard.NOT_PAUSED: true()}
    ),
)
_waiting = (
    select(TaskRow.id)
    .where(_of_unknown_type)
    .order_by(TaskRow.due_at)
    .limit(_rows)
    .with_for_update(skip_locked=True)
    .lateral("waiting")
)
_rejected = select(_waiting.c.id).select_from(_unknown.join(_waiting, true())).limit(_rows).cte("picked")

_type = func.unnest(_offers.c.types).table_valued("type").render_derived(name="offered_type")
_types = func.array_agg(aggregate_order_by(_type.c.type.distinct(), _type.c.type), type_=ARRAY(Text))
_types_by_queue = (
    select(_queue.c.queue, _types.label("types"))
    .select_from(_offers.join(_queue, true()).join(_type, true()))
    .group_by(_queue.c.queue)
    .cte("types_by_queue")
    .prefix_with("MATERIALIZED")  # once, not for each task
)
_names = func.array_to_string(_types_by_queue.c.types[constant(1) : constant(_NAMES_MAX)], constant(", "))
_more = func.cardinality(_types_by_queue.c.types) - constant(_NAMES_MAX)
_offered = (
    select(func.concat(_names, case((_more > constant(0), func.concat(constant(" and "), _more, constant(" more"))))))
    .where(_types_by_queue.c.queue == TaskRow.queue)
    .scalar_subquery()
)

_given = {
    "offered": func.coalesce(_offered, constant("nothing")),
    "fingerprint": constant(REJECTED_FAILURE.fingerprint),
}

REJECT = Statement(
    update(TaskRow)
    .values(values(Event.REJECT, _given))
    .where(is_picked(_rejected))
    .returning(TaskRow.id, TaskRow.queue, TaskRow.priority, TaskRow.type, constant(Event.REJECT).label("event")),
    "Fails tasks that have been due for a lease, are not paused and whose type nobody offers, at most `rows` of them."
    " `priority` names all priorities. Skips what is locked.",
    indexes=("ix_tasks_waiting", "pk_tasks", "pk_task_types", "ix_workers_live"),
    tells_changes=True,
    tells_events=True,
)
