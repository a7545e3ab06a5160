"""CLAIM in three ways: by the ids of a message, straight from the table (the poll), and one suspect.

Each locks its rows with SKIP LOCKED, tests the guards on the locked rows, and writes one lease token to all of them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Double,
    Integer,
    Interval,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    exists,
    func,
    not_,
    select,
    true,
    update,
)
from sqlalchemy.orm import aliased

from task_contracts.lifecycle import SUSPECT_LOST_COUNT, Event, Guard
from task_store._models import TaskRow, WorkerRow
from task_store._statements.lookups import is_picked, locked_row, only_test
from task_store._statements.parameters import is_one_of, parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, guards, is_held, is_waiting, shown, values
from task_store._statements.workers import is_live

_me = parameter("worker_id", Uuid())
_slots: BindParameter[int] = parameter("slots", Integer())
_overdue = TaskRow.due_at <= NOW - parameter("overdue", Interval())
_is_no_suspect = shown(Guard.NOT_SUSPECT)
_is_suspect = TaskRow.lost_count >= constant(SUSPECT_LOST_COUNT)

_i_am_alive = exists(select(WorkerRow.id).where(WorkerRow.id == _me, is_live()))
_offered = and_(is_one_of(TaskRow.queue, "queues", Text()), is_one_of(TaskRow.type, "types", Text()))


def _claimable(suspects: ColumnElement[bool]) -> ColumnElement[bool]:
    given = {Guard.WORKER_ALIVE: _i_am_alive, Guard.TYPE_OFFERED: _offered, Guard.LONE_SUSPECT: suspects}
    return guards(Event.CLAIM, given)


def _claim(locked: Select[Any]) -> Update:
    picked = locked.cte("picked")
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
            TaskRow.labels,
            TaskRow.payload,
            TaskRow.attempt,
            TaskRow.failures,
            TaskRow.timeout_seconds,
            TaskRow.max_attempts,
            TaskRow.lease_token,
        )
    )


_asked = unnested("asked", id=Uuid())
_locked = locked_row(_asked.c.id, _claimable(_is_no_suspect), name="locked")

BY_ID = Statement(
    _claim(select(_locked.c.id).select_from(_asked.join(_locked, true()))),
    "Claims tasks by their ids, as a message names them: those that are due, of an offered type and queue, no suspects,"
    " and not locked by anybody.",
    indexes=("pk_tasks", "pk_workers"),
)


# The poll. Candidates are read without locks, at most `candidates` of each lane (queue x priority x type), and ordered
# at random by the weights, longest due first within a priority. Then they are locked one after the other until `slots`
# are held: workers that poll at the same time skip one another's rows.
_priorities = unnested("priorities", priority=Text(), weight=Double())
_queues = unnested("served", queues=Text())
_types = unnested("offered", types=Text())
_lane = (
    select(TaskRow.id, TaskRow.due_at)
    .where(
        TaskRow.queue == _queues.c.queues,
        TaskRow.priority == _priorities.c.priority,
        TaskRow.type == _types.c.types,
        _claimable(_is_no_suspect),
        _overdue,
    )
    .order_by(TaskRow.due_at, TaskRow.id)
    .limit(parameter("candidates", Integer()))
    .lateral("lane")
)
# Each priority takes its turns at random intervals, shorter ones for a greater weight. So the next pick belongs to a
# waiting priority with the chance weight / sum of weights, even if slots come free one at a time. (With fixed turns,
# the n-th at n / weight, a worker with one free slot took HIGH for ever.)
_gap = -func.ln(constant(1) - func.random(type_=Double()))
_turns = func.sum(_gap).over(partition_by=_priorities.c.priority, order_by=(_lane.c.due_at, _lane.c.id))
_turn = (_turns / _priorities.c.weight).label("turn")
_candidates = (
    select(_lane.c.id)
    .select_from(_priorities.join(_queues, true()).join(_types, true()).join(_lane, true()))
    .order_by(_turn, _lane.c.due_at)
    .limit(parameter("candidates", Integer()))
    .subquery("candidates")
)
_polled = locked_row(_candidates.c.id, _claimable(_is_no_suspect), name="polled")

POLL = Statement(
    _claim(select(_polled.c.id).select_from(_candidates.join(_polled, true())).limit(_slots)),
    "Claims up to `slots` tasks straight from the table: due for `overdue`, dispatched or not, by the weights among the"
    " priorities, longest due first within one. `priority` and `weight` have one length. At most `candidates` of each"
    " lane are looked at.",
    indexes=("ix_tasks_waiting", "pk_tasks", "pk_workers"),
)


_held = aliased(TaskRow)
_i_hold_none = not_(
    exists(
        select(constant(1)).where(
            _held.worker_id == _me,
            is_held(_held),
            _held.lost_count >= constant(SUSPECT_LOST_COUNT),
        )
    )
)

SUSPECT = Statement(
    _claim(
        select(TaskRow.id)
        # Only what `ix_tasks_suspect` covers stays outside the CASE.
        .where(is_waiting(), _is_suspect, _overdue, only_test(_claimable(_i_hold_none)))
        .order_by(TaskRow.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ),
    "Claims one suspect that has been due for `overdue`, the longest due first, unless this worker holds one.",
    indexes=("ix_tasks_suspect", "ix_tasks_running", "pk_tasks", "pk_workers"),
)
