"""DISPATCH: marks due tasks of each broker queue, and tells when the next one is due.

Each broker queue is read by itself, up to its own quota: so no priority and no queue can keep another one out.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Integer, Text, and_, func, select, true, update

from task_contracts.lifecycle import Event, Guard
from task_store._models import TaskRow
from task_store._statements.lookups import is_picked, locked_row
from task_store._statements.parameters import unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, guards, values

_quota = unnested("quota", queue=Text(), priority=Text(), ids=Integer())
_offer = unnested("offer", offer_queue=Text(), offer_type=Text())


def _is_of_lane(offer_type: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(TaskRow.queue == _quota.c.queue, TaskRow.priority == _quota.c.priority, TaskRow.type == offer_type)


# The first due of each lane (queue x priority x type), and of these the first due of the broker queue.
_lane = (
    select(TaskRow.id, TaskRow.due_at)
    .where(_is_of_lane(_offer.c.offer_type), guards(Event.DISPATCH))
    .order_by(TaskRow.due_at, TaskRow.id)
    .limit(_quota.c.ids)
    .correlate(_quota, _offer)
    .lateral("lane")
)
_due = (
    select(_lane.c.id)
    .select_from(_offer.join(_lane, true()))
    .where(_offer.c.offer_queue == _quota.c.queue)
    .order_by(_lane.c.due_at, _lane.c.id)
    .limit(_quota.c.ids)
    .lateral("due")
)
_locked = locked_row(_due.c.id, guards(Event.DISPATCH), name="locked")
_picked = select(_locked.c.id).select_from(_quota.join(_due, true()).join(_locked, true())).cte("picked")

MARK = Statement(
    update(TaskRow)
    .values(values(Event.DISPATCH))
    .where(is_picked(_picked))
    .returning(TaskRow.id, TaskRow.queue, TaskRow.priority, TaskRow.due_at),
    "Marks due tasks of offered types as dispatched, in each broker queue (`queue`, `priority`) up to `ids` of them,"
    " the longest due first. Skips what is locked. `queue`, `priority` and `ids` have one length, and so have the two"
    " arrays of offers.",
    indexes=("ix_tasks_undispatched", "pk_tasks"),
)

_next = (
    select(TaskRow.due_at)
    .where(_is_of_lane(_offer.c.offer_type), guards(Event.DISPATCH, {Guard.DUE: true()}))
    .order_by(TaskRow.due_at)
    .limit(1)
    .lateral("next")
)

NEXT_DUE = Statement(
    select((func.min(_next.c.due_at) - NOW).label("until"))
    .select_from(_quota.join(_offer, _offer.c.offer_queue == _quota.c.queue).join(_next, true()))
    .where(_quota.c.ids > 0),
    "Returns how long until the next task that MARK could take, of a broker queue with `ids` above 0, is due; zero or"
    " less if it is due already, NULL if there is none. Parameters as for MARK.",
    indexes=("ix_tasks_undispatched",),
)
