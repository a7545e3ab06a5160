"""DISPATCH: mark what is due in each broker queue, and ask when the next task will be.

Each broker queue is read by itself, up to its own room: neither a priority nor a queue can keep another out.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Integer, Text, and_, func, select, true, update

from task_contracts.lifecycle import Event, Guard
from task_store._models import TaskRow
from task_store._statements.lookups import is_picked, locked_row
from task_store._statements.parameters import unnested
from task_store._statements.transitions import NOW, guards, values

_room = unnested("room", queue=Text(), priority=Text(), ids=Integer())
_offer = unnested("offer", offer_queue=Text(), offer_type=Text())


def _line_of(offer_type: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(TaskRow.queue == _room.c.queue, TaskRow.priority == _room.c.priority, TaskRow.type == offer_type)


_first_due = (
    select(TaskRow.id, TaskRow.due_at)
    .where(_line_of(_offer.c.offer_type), guards(Event.DISPATCH))
    .order_by(TaskRow.due_at, TaskRow.id)
    .limit(_room.c.ids)
    .correlate(_room, _offer)
    .lateral("first_due")
)
_line = (
    select(_first_due.c.id)
    .select_from(_offer.join(_first_due, true()))
    .where(_offer.c.offer_queue == _room.c.queue)
    .order_by(_first_due.c.due_at, _first_due.c.id)
    .limit(_room.c.ids)
    .lateral("line")
)
_locked = locked_row(_line.c.id, guards(Event.DISPATCH), name="locked")
_picked = select(_locked.c.id).select_from(_room.join(_line, true()).join(_locked, true())).cte("picked")

MARK = (
    update(TaskRow)
    .values(values(Event.DISPATCH))
    .where(is_picked(_picked))
    .returning(TaskRow.id, TaskRow.queue, TaskRow.priority, TaskRow.due_at)
)
"""Parameters: queue, priority, ids (arrays of one length), offer_queue and offer_type (arrays of one length)."""

_next = (
    select(TaskRow.due_at)
    .where(_line_of(_offer.c.offer_type), guards(Event.DISPATCH, {Guard.DUE: true()}))
    .order_by(TaskRow.due_at)
    .limit(1)
    .lateral("next")
)

NEXT_DUE = (
    select(func.min(_next.c.due_at) - NOW)
    .select_from(_room.join(_offer, _offer.c.offer_queue == _room.c.queue).join(_next, true()))
    .where(_room.c.ids > 0)
)
"""Parameters as for MARK. Returns how long until the next task of a broker queue that has room is due, or NULL."""
