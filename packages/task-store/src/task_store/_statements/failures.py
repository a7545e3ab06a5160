"""Counts failed attempts by hour and fingerprint, for the answer to: what failed lately, and how often.

Rows stay few whatever fails: `limits.FINGERPRINTS_AN_HOUR` an hour, and what comes beyond counts as `other`. The bound
is that of one writer: statements that run at the same moment do not see one another's new rows, and each may bring as
many as the hour had room for. So n workers make at most n times as many, and one more, which is `other`. (A lock in the
statement would not help, since its snapshot is older than its wait; two statements would cost a transaction for a
chart.) What callers choose fills no room: the rejected tasks of all types are one kind.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    Interval,
    Text,
    Uuid,
    case,
    cast,
    delete,
    exists,
    func,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from task_contracts import OTHER_TYPE, limits
from task_store._models import FailureRow
from task_store._statements.parameters import parameter, unnested
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant

_COUNT_MAX = (1 << 31) - 1
_DAY_HOURS = 24


def _ago(seconds: ColumnElement[float]) -> ColumnElement[Any]:
    return NOW - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _hour_of(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.date_trunc(constant("hour"), moment, constant("UTC"))


_this_hour = _hour_of(NOW)
_other = constant(OTHER_TYPE)

_asked = unnested(
    "asked",
    fingerprint=Text(),
    type=Text(),
    exception=Text(),
    frame=Text(),
    message=Text(),
    count=Integer(),
    first_seconds=Double(),
    last_seconds=Double(),
    example_id=Uuid(),
)
_is_known = exists(
    select(constant(1)).where(FailureRow.hour == _this_hour, FailureRow.fingerprint == _asked.c.fingerprint)
)
_in_hour = select(func.count()).where(FailureRow.hour == _this_hour).scalar_subquery()
_tried = select(*_asked.c, _is_known.label("is_known")).cte("tried")
_nth_new = func.row_number().over(partition_by=_tried.c.is_known, order_by=_tried.c.fingerprint)
_fits = _tried.c.is_known | (_nth_new + _in_hour <= constant(limits.FINGERPRINTS_AN_HOUR))
_ranked = select(*_tried.c, _fits.label("fits")).cte("ranked")


def _or_other(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((_ranked.c.fits, column), else_=_other)


_kinds = select(
    *(_or_other(_ranked.c[name]).label(name) for name in ("fingerprint", "type", "exception")),
    case((_ranked.c.fits, _ranked.c.frame), else_=constant("")).label("frame"),
    *(_ranked.c[name] for name in ("message", "count", "first_seconds", "last_seconds", "example_id")),
).cte("kinds")


def _latest(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the value of the kind's latest failure."""
    return func.array_agg(aggregate_order_by(column, _kinds.c.last_seconds))[constant(1)]


_summed = (
    select(
        _this_hour.label("hour"),
        _kinds.c.fingerprint,
        *(_latest(_kinds.c[name]).label(name) for name in ("type", "exception", "frame", "message")),
        cast(func.least(func.sum(_kinds.c.count), constant(_COUNT_MAX)), Integer).label("count"),
        _ago(func.max(_kinds.c.first_seconds)).label("first_at"),
        _ago(func.min(_kinds.c.last_seconds)).label("last_at"),
        _latest(_kinds.c.example_id).label("example_id"),
    )
    .group_by(_kinds.c.fingerprint)
    .order_by(_kinds.c.fingerprint)  # of two statements that write the same rows none waits for the other's second
)
_insert = insert(FailureRow).from_select([column.name for column in _summed.selected_columns], _summed)
_new = _insert.excluded
_is_later = _new.last_at >= FailureRow.last_at

COUNT = Statement(
    _insert.on_conflict_do_update(
        index_elements=[FailureRow.hour, FailureRow.fingerprint],
        set_={
            "count": cast(
                func.least(cast(FailureRow.count, BigInteger) + _new["count"], constant(_COUNT_MAX)), Integer
            ),
            "first_at": func.least(FailureRow.first_at, _new.first_at),
            "last_at": func.greatest(FailureRow.last_at, _new.last_at),
            "message": case((_is_later, _new.message), else_=FailureRow.message),
            "example_id": case((_is_later, _new.example_id), else_=FailureRow.example_id),
        },
    ),
    "Adds failures to the counts of this hour. The arrays have one length, and each fingerprint comes once; `seconds`"
    " are before now. A fingerprint that the hour has no room for counts as `other`. Writes the rows in one order,"
    " whoever writes them. Not safe to repeat.",
    indexes=("pk_failure_hours",),
)

_since = _hour_of(NOW - func.make_interval(0, 0, 0, 0, _DAY_HOURS))
_group = (
    select(
        FailureRow.fingerprint,
        func.sum(FailureRow.count).label("count"),
        func.min(FailureRow.first_at).label("first_at"),
        func.max(FailureRow.last_at).label("last_at"),
        func.max(FailureRow.hour).label("hour"),
    )
    .where(FailureRow.hour >= _since)
    .group_by(FailureRow.fingerprint)
    .order_by(func.sum(FailureRow.count).desc(), FailureRow.fingerprint)
    .limit(parameter("rows", Integer()))
    .subquery("group")
)
_example = (
    select(FailureRow.type, FailureRow.exception, FailureRow.frame, FailureRow.message, FailureRow.example_id)
    .where(FailureRow.hour == _group.c.hour, FailureRow.fingerprint == _group.c.fingerprint)
    .limit(constant(1))
    .lateral("example")
)

LAST_DAY = Statement(
    select(
        *(_group.c[name] for name in ("fingerprint", "count", "first_at", "last_at")),
        *_example.c,
    )
    .select_from(_group.join(_example, true()))
    .order_by(_group.c.count.desc(), _group.c.fingerprint),
    "Returns the kinds of failures of the last 24 hours and of what the first of them is part of, most first, at most"
    " `rows` of them, each with the message and the task of its latest.",
    indexes=("pk_failure_hours",),
)

_old = (
    select(FailureRow.hour, FailureRow.fingerprint)
    .where(FailureRow.hour < NOW - parameter("age", Interval()))
    .order_by(FailureRow.hour, FailureRow.fingerprint)
    .limit(parameter("rows", Integer()))
    .with_for_update(skip_locked=True)
    .cte("old")
)

FORGET = Statement(
    delete(FailureRow)
    .where(tuple_(FailureRow.hour, FailureRow.fingerprint).in_(select(_old.c.hour, _old.c.fingerprint)))
    .returning(FailureRow.fingerprint),
    "Deletes counts of hours that began longer than `age` ago, at most `rows` of them. Skips what is locked.",
    indexes=("pk_failure_hours",),
)
