"""CLAIM in two ways: by ids, and one suspect. The ids come from a message or, for the poll, from `OVERDUE`, `SUSPECTS`.

Each locks its rows with SKIP LOCKED, tests the guards on the locked rows, and writes one lease token to all of them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Interval,
    Text,
    Update,
    Uuid,
    and_,
    cast,
    exists,
    func,
    not_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.orm import aliased

from task_contracts.lifecycle import SUSPECT_LOST_COUNT, Event, Guard
from task_store._models import TaskRow, WorkerRow
from task_store._statements import pauses
from task_store._statements.lookups import clock, is_in_lane, is_picked, locked_row, only_test
from task_store._statements.parameters import in_order, is_one_of, parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, guards, is_held, is_waiting, shown, values
from task_store._statements.workers import is_live

_me = parameter("worker_id", Uuid())
_overdue = TaskRow.due_at <= NOW - parameter("overdue", Interval())
_is_no_suspect = shown(Guard.NOT_SUSPECT)
_is_suspect = TaskRow.lost_count >= constant(SUSPECT_LOST_COUNT)

_i_am_alive = exists(select(WorkerRow.id).where(WorkerRow.id == _me, is_live()))
_offered = and_(is_one_of(TaskRow.queue, "queues", Text()), is_one_of(TaskRow.type, "types", Text()))


def _claimable(suspects: ColumnElement[bool]) -> ColumnElement[bool]:
    given = {Guard.WORKER_ALIVE: _i_am_alive, Guard.TYPE_OFFERED: _offered, Guard.LONE_SUSPECT: suspects}
    given[Guard.NOT_PAUSED] = pauses.is_not_paused()
    return guards(Event.CLAIM, given)


def _claim(picked: CTE, *more: ColumnElement[Any]) -> Update:
    token = parameter("lease_token", Uuid())
    return (
        update(TaskRow)
        .values(values(Event.CLAIM, {"lease_token": token, "worker_id": _me}))
        .where(is_picked(picked))
        .returning(
            TaskRow.id,
            TaskRow.name,
            TaskRow.type,
            TaskRow.queue,
            TaskRow.priority,
            # As texts the driver decodes them in C; as JSON each would go through two functions.
            *(cast(getattr(TaskRow, name), Text).label(f"{name}_text") for name in ("labels", "payload", "checkpoint")),
            TaskRow.attempt,
            TaskRow.failures,
            TaskRow.rerun_count,
            TaskRow.timeout_seconds,
            TaskRow.max_attempts,
            TaskRow.lease_token,
            TaskRow.created_at,
            TaskRow.due_at,
            TaskRow.started_at,
            TaskRow.lost_count,
            TaskRow.traceparent,
            *more,
        )
    )


# The rows are locked one after the other, in the order asked, until `slots` are held: workers that claim the same ids
# at the same moment skip one another's rows. Of these rows the first few are claimed, as their payloads,
# labels and checkpoints fit together into `bytes`; the first one always is. The rest is returned beside each row, as
# `left`.
_asked = in_order("asked", id=Uuid())
_labels_bytes = func.octet_length(cast(TaskRow.labels, Text))
_size = (TaskRow.payload_bytes + _labels_bytes + TaskRow.checkpoint_bytes).label("size")
_locked = locked_row(_asked.c.id, _claimable(_is_no_suspect), _size, name="locked")
_held_now = (
    select(_locked.c.id, _locked.c.size, _asked.c.place)
    .select_from(_asked.join(_locked, true()))
    .limit(parameter("slots", Integer()))
    .cte("held_now")
)
_sized = select(
    _held_now.c.id,
    _held_now.c.size,
    _held_now.c.place,
    func.sum(_held_now.c.size).over(order_by=_held_now.c.place).label("sum_bytes"),
).cte("sized")
_fits = (_sized.c.sum_bytes <= parameter("bytes", BigInteger())) | (_sized.c.sum_bytes == _sized.c.size)
_fitting = select(_sized.c.id).where(_fits).cte("picked")
_left: ColumnElement[Any] = func.array(
    select(_sized.c.id).where(~_fits).order_by(_sized.c.place).scalar_subquery(), type_=ARRAY(Uuid())
)

BY_ID = Statement(
    _claim(_fitting, _left.label("left")),
    "Claims up to `slots` tasks of these ids, in their order: those that are due, of an offered type and queue, no"
    " suspects, and not locked by anybody, until their payloads, labels and checkpoints exceed `bytes` together; the"
    " first one always fits. `left` are the ids that could be claimed but for their size.",
    indexes=("pk_tasks", "pk_workers"),
    tells_changes=True,
)


# The poll reads candidates without locks, `candidates` of each lane (queue x priority x type) from its low-water time
# on, and claims them by their ids. They are ordered at random by the weights, longest due first within a priority.
# Each priority takes its turns at random intervals, shorter ones for a greater weight. So the next pick belongs to a
# waiting priority with the chance weight / sum of weights, even if slots come free one at a time. (With fixed turns,
# the n-th at n / weight, a worker with one free slot took HIGH for ever.)
_all_lanes = in_order(
    "lane", queue=Text(), priority=Text(), type=Text(), since=DateTime(timezone=True), weight=Double()
)
_lanes, _paused = pauses.split_lanes(_all_lanes, pauses.is_lane_left_to_leader(_all_lanes))
_of_lane = (
    select(TaskRow.id, TaskRow.due_at)
    .where(
        is_in_lane(_lanes),
        is_waiting(),
        shown(Guard.DUE),
        _is_no_suspect,
        _overdue,
        not_(is_one_of(TaskRow.id, "resting", Uuid())),
    )
    .order_by(TaskRow.due_at, TaskRow.id)
    .limit(parameter("candidates", Integer()))
    .lateral("waiting")
)
_gap = -func.ln(constant(1) - func.random(type_=Double()))
_turns = func.sum(_gap).over(partition_by=_lanes.c.priority, order_by=(_of_lane.c.due_at, _of_lane.c.id))
_candidates = (
    select(
        _lanes.c.queue,
        _lanes.c.priority,
        _lanes.c.type,
        _of_lane.c.id,
        _of_lane.c.due_at,
        (_turns / _lanes.c.weight).label("turn"),
    )
    .select_from(_lanes.join(_of_lane, true()))
    .subquery("candidates")
)
_by_due = (_candidates.c.due_at, _candidates.c.id)
_by_lane = (
    select(
        _candidates.c.queue,
        _candidates.c.priority,
        _candidates.c.type,
        func.min(_candidates.c.due_at).label("due_at"),
        func.array_agg(aggregate_order_by(_candidates.c.id, *_by_due)).label("ids"),
        func.array_agg(aggregate_order_by(_candidates.c.turn, *_by_due)).label("turns"),
    )
    .group_by(_candidates.c.queue, _candidates.c.priority, _candidates.c.type)
    .subquery("by_lane")
)

OVERDUE = Statement(
    select(*_by_lane.c, clock.c.now, _paused.label("paused")).select_from(clock.outerjoin(_by_lane, true())),
    "Returns tasks that have been due for `overdue`, dispatched or not, without those of `resting`: for each lane the"
    " `ids` of at most `candidates` of them from `since` on, longest due first, and the turn of each. In the order of"
    " their turns, which is random by the weights of the priorities, they are to be claimed. Lanes that are"
    " paused are not read, nor for a moment those that were: the leader marks first. `now` and the places of these"
    " lanes, `paused`, come in each row, and alone if there is none.",
    indexes=("ix_tasks_waiting", "ix_pauses_open"),
)


# By the ids that the worker knows of: in the index of running tasks, an old snapshot keeps dead entries of all that it
# has run.
_in_flight = unnested("in_flight", held_id=Uuid())
_held = aliased(TaskRow)
_is_held_suspect = and_(_held.worker_id == _me, is_held(_held), _held.lost_count >= constant(SUSPECT_LOST_COUNT))
_held_suspect = select(_held.id).where(_held.id == _in_flight.c.held_id, only_test(_is_held_suspect)).lateral("held")
_i_hold_none = not_(exists(select(constant(1)).select_from(_in_flight.join(_held_suspect, true()))))

SUSPECTS = Statement(
    select(TaskRow.id)
    # Only what `ix_tasks_suspect` covers stays outside the CASE.
    .where(
        is_waiting(),
        _is_suspect,
        _overdue,
        only_test(
            and_(shown(Guard.DUE), _offered, not_(is_one_of(TaskRow.id, "resting", Uuid())), pauses.is_not_paused())
        ),
    )
    .order_by(TaskRow.due_at)
    .limit(parameter("suspects", Integer())),
    "Returns up to `suspects` suspects that have been due for `overdue`, without those of `resting`, the longest due"
    " first. They are to be claimed one by one.",
    indexes=("ix_tasks_suspect",),
)

_id = parameter("id", Uuid())

SUSPECT = Statement(
    _claim(
        select(TaskRow.id)
        .where(TaskRow.id == _id, only_test(_claimable(and_(_is_suspect, _i_hold_none))))
        .with_for_update(skip_locked=True)
        .cte("picked")
    ),
    "Claims this suspect, unless it is locked or the worker holds one: `held_id` are all that it holds.",
    indexes=("pk_tasks", "pk_workers"),
    tells_changes=True,
)
