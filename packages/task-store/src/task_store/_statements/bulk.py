"""Changes many tasks at once: cancels those that match a filter, or reruns them, and counts what would be changed.

A call picks tasks as a list does, in its order and over a bounded number of rows (`pages`), and locks them in the order
of their ids, so that two calls over the same tasks cannot wait for one another. On the locked row it tests everything
once more: the filter, the guards of the events, and the conditions of `_ONLY_IF`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

import orjson
from sqlalchemy import ColumnElement, Integer, Text, and_, case, cast, func, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from task_contracts import AuditAction
from task_contracts.lifecycle import CANCELLATION, LIFECYCLE, Event, sources
from task_store._models import TaskRow
from task_store._statements import pages
from task_store._statements.audit import audited
from task_store._statements.lookups import clock, is_picked, locked_row
from task_store._statements.matching import indexes, match_conditions
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant, is_status, pick, values_of_picked
from task_store.records import NOBODY, AuditContext, TaskFilter

_Condition: TypeAlias = Callable[[type[TaskRow], datetime | None], ColumnElement[bool]]


def _is_not_asked(task: type[TaskRow], _: datetime | None) -> ColumnElement[bool]:
    return task.cancel_requested_at.is_(None)


def _finished_before(task: type[TaskRow], began_at: datetime | None) -> ColumnElement[bool]:
    return task.finished_at < (NOW if began_at is None else began_at)


_KIND = (TaskRow.queue, TaskRow.priority, TaskRow.type)
_ONLY_IF: Mapping[Event, _Condition] = {Event.REQUEST_CANCEL: _is_not_asked, Event.RERUN: _finished_before}
"""Conditions beside the guards, by which a repeated call changes nothing twice."""


def change(
    events: Sequence[Event],
    wanted: TaskFilter,
    *,
    items: int,
    began_at: datetime | None,
    audit: AuditContext = NOBODY,
) -> Statement:
    """Build the statement that picks up to `items` matching tasks, and makes one of `events` happen to each.

    It writes one act into the audit: who asked (`audit`), and how many tasks were changed.

    `began_at` is the time of the first call, None for that one itself. There is a row for each kind of task and event,
    and one of NULLs if nothing was changed; each has `now`, and `next_after`: the id after which the next call goes on,
    or NULL if nothing is left.
    """
    among = replace(wanted, statuses=sources(*events))
    seen = aliased(TaskRow, pages.examined(among))
    candidates = (
        select(seen.id)
        .where(*match_conditions(seen, wanted), _can_happen(events, seen, began_at))
        .order_by(pages.in_list_order(seen.id, wanted.order))
        .limit(items + 1)
        .cte("candidates")
    )
    in_list_order = pages.in_list_order(candidates.c.id, wanted.order)
    first = select(candidates.c.id).order_by(in_list_order).limit(items).subquery("first")
    asked = select(first.c.id).order_by(first.c.id).subquery("asked")
    event = pick(events)
    is_wanted = and_(*match_conditions(TaskRow, wanted), _can_happen(events, TaskRow, began_at))
    row = locked_row(asked.c.id, event.is_not(None) & is_wanted, name="row", skip_locked=False)
    locked = select(row.c.id).select_from(asked.join(row, true())).cte("locked")
    changed = (
        update(TaskRow)
        .values(values_of_picked(events, event))
        .where(is_picked(locked))
        .returning(TaskRow.id, *_KIND, _happened(events).label("event"))
        .cte("changed")
    )
    kind_and_event = [changed.c[name] for name in ("queue", "priority", "type", "event")]
    groups = (
        select(*kind_and_event, func.array_agg(changed.c.id).label("ids"), func.count().label("tasks"))
        .group_by(*kind_and_event)
        .subquery("groups")
    )
    is_more = select(func.count() > items).select_from(candidates).scalar_subquery()
    last = select(candidates.c.id).order_by(in_list_order).offset(items - 1).limit(1).scalar_subquery()
    next_after = case((is_more, last), else_=pages.last_examined_id(among).scalar_subquery())
    act = audited(
        AuditAction.CANCEL_MANY if tuple(events) == CANCELLATION else AuditAction.RERUN_MANY,
        actor=literal(audit.actor, Text()),
        request_id=literal(audit.request_id, Text()),
        # As text, which the driver sends as it is.
        filter=cast(literal(None if audit.filter is None else orjson.dumps(audit.filter).decode(), Text()), JSONB),
        count=cast(select(func.count()).select_from(changed).scalar_subquery(), Integer()),
    )
    return Statement(
        select(*groups.c, clock.c.now, next_after.label("next_after"))
        .select_from(clock.outerjoin(groups, true()))
        .add_cte(act),
        "Changes matching tasks, and writes one act into the audit. Returns a row for each kind of task (queue,"
        " priority, type) and event, with `ids`; `now`, and the id after which to go on, stand in each row. Waits for"
        " the locks of the tasks that it picked.",
        indexes=tuple(dict.fromkeys((*indexes(among), "pk_tasks"))),
        tells_changes=True,
        tells_events=True,
        is_built=True,
    )


def count(events: Sequence[Event], wanted: TaskFilter, *, began_at: datetime | None) -> Statement:
    """Build the select of how many of the matching tasks each of `events` could happen to, by its name."""
    among = replace(wanted, statuses=sources(*events))
    seen = aliased(TaskRow, pages.examined(among))
    matching = [
        func.count().filter(*match_conditions(seen, wanted), _can_happen([event], seen, began_at)).label(event)
        for event in events
    ]
    return Statement(
        select(*matching, func.count().label("examined"), NOW.label("now")).select_from(seen),
        "Counts the tasks examined, and those of them to which each event could happen.",
        indexes=indexes(among),
        is_built=True,
    )


def _happened(events: Sequence[Event]) -> ColumnElement[str]:
    """Return the name of the event that has happened to a changed row, which its new status tells."""
    targets = ((LIFECYCLE[event].target, event) for event in events)
    return case(*((is_status([target] if target else sources(event)), constant(event)) for target, event in targets))


def _can_happen(events: Sequence[Event], task: type[TaskRow], began_at: datetime | None) -> ColumnElement[bool]:
    """Return the condition that the status of a task allows one of `events`, and that it would not happen twice."""
    return or_(*(and_(is_status(sources(event), task), *_only_if(event, task, began_at)) for event in events))


def _only_if(event: Event, task: type[TaskRow], began_at: datetime | None) -> list[ColumnElement[bool]]:
    return [_ONLY_IF[event](task, began_at)] if event in _ONLY_IF else []
