"""DISPATCH: marks due tasks of each broker queue, and tells when the next one is due.

Each broker queue is read by itself, up to its own quota: so no priority and no queue can keep another one out. What is
paused, or was and is not settled, is not read at all (`_statements/pauses.py`).

MARK is the one change of a version that is not told: a caller sees nothing of it but NEW becoming PENDING, the claim
follows at once, and it would double what a drain tells.

It is also the one write that does not wait for the disk (docs/decisions/0023-marks-do-not-wait.md). A mark that a power
cut takes back leaves a message that names a task which is marked again: its second message finds it claimed.
"""

from __future__ import annotations

from sqlalchemy import DateTime, Integer, Text, and_, func, select, true, update

from task_contracts.lifecycle import Event, Guard
from task_store._models import TaskRow
from task_store._statements import pauses
from task_store._statements.lookups import clock, is_in_lane, is_picked, locked_row
from task_store._statements.parameters import in_order, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, guards, values

_quota = unnested("quota", queue=Text(), priority=Text(), ids=Integer())
_lanes = in_order("lane", lane_queue=Text(), lane_priority=Text(), lane_type=Text(), lane_since=DateTime(timezone=True))
_named = (
    select(
        _lanes.c.lane_queue.label("queue"),
        _lanes.c.lane_priority.label("priority"),
        _lanes.c.lane_type.label("type"),
        _lanes.c.lane_since.label("since"),
        _lanes.c.place,
    )
    .select_from(_lanes)
    .subquery("named")
)
_lane, _paused = pauses.split_lanes(_named, pauses.is_lane_unsettled(_named))
_of_quota = and_(_lane.c.queue == _quota.c.queue, _lane.c.priority == _quota.c.priority)

# The first due of each lane (queue x priority x type), and of these the first due of the broker queue.
_waiting = (
    select(TaskRow.id, TaskRow.due_at, TaskRow.payload_bytes)
    .where(is_in_lane(_lane), guards(Event.DISPATCH, {Guard.NOT_PAUSED: true()}))
    .order_by(TaskRow.due_at, TaskRow.id)
    .limit(_quota.c.ids)
    .correlate(_quota, _lane)
    .lateral("waiting")
)
_first = (
    select(_lane.c.type, _waiting.c.id, _waiting.c.due_at, _waiting.c.payload_bytes)
    .select_from(_lane.join(_waiting, true()))
    .where(_of_quota)
    .order_by(_waiting.c.due_at, _waiting.c.id)
    .limit(_quota.c.ids)
    .correlate(_quota)
    .lateral("first")
)
_due = select(_quota.c.queue, _quota.c.priority, *_first.c).select_from(_quota.join(_first, true())).cte("due")
_dispatchable = guards(Event.DISPATCH, {Guard.NOT_PAUSED: pauses.is_not_paused()})
_locked = locked_row(_due.c.id, _dispatchable, name="locked")
_picked = select(_locked.c.id).select_from(_due.join(_locked, true())).cte("picked")
_marked = update(TaskRow).values(values(Event.DISPATCH)).where(is_picked(_picked)).returning(TaskRow.id).cte("marked")
_unflushed = select(func.set_config("synchronous_commit", "off", true())).cte("unflushed")
"""For this transaction alone: its commit does not wait for the disk."""

MARK = Statement(
    select(
        *_due.c,
        _marked.c.id.is_not(None).label("is_marked"),
        clock.c.now,
        _paused.label("paused"),
        pauses.is_any_over.label("is_pause_over"),
    ).select_from(clock.join(_unflushed, true()).outerjoin(_due, true()).outerjoin(_marked, _marked.c.id == _due.c.id)),
    "Marks due tasks as dispatched, in each broker queue (`queue`, `priority`) up to `ids` of its lanes together, the"
    " longest due first, and returns them; also those that it skipped since they are locked (`is_marked` is false)."
    " In each row, and in one of their own if there is none, are `now`, the places of `paused` lanes, and whether a"
    " pause is over and not settled (`is_pause_over`). The three arrays of broker queues have one length, and so have"
    " the four of lanes, each of which is read from `lane_since` on.",
    indexes=("ix_tasks_undispatched", "pk_tasks", "ix_pauses_open"),
)

_next = (
    select(TaskRow.due_at)
    .where(is_in_lane(_lane), guards(Event.DISPATCH, {Guard.DUE: true(), Guard.NOT_PAUSED: true()}))
    .order_by(TaskRow.due_at)
    .limit(1)
    .lateral("next")
)

NEXT_DUE = Statement(
    select(
        (func.least(func.min(_next.c.due_at), pauses.next_end) - NOW).label("until"),
        pauses.is_any_over.label("is_pause_over"),
    )
    .select_from(_quota.join(_lane, _of_quota).join(_next, true()))
    .where(_quota.c.ids > 0),
    "Returns how long until the next task that MARK could take, of a broker queue with `ids` above 0, is due, or until"
    " a pause ends by itself; zero or less if a task is due already, NULL if there is neither;"
    " and `is_pause_over` as MARK does. Parameters as for MARK.",
    indexes=("ix_tasks_undispatched", "ix_pauses_open"),
)
