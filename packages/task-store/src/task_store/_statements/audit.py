"""Writes the acts of operators, each in the statement that changes something, and reads them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CTE, BigInteger, ColumnElement, FromClause, Integer, Text, Uuid, cast, func, null, or_, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from task_contracts import AuditAction
from task_store._models import AuditRow
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant

_COLUMNS = [column.name for column in AuditRow.__table__.columns]


def _id_of_now() -> ColumnElement[UUID]:
    """Return a new UUIDv7 of the database's clock (RFC 9562, with the microseconds as in its section 6.2, method 3).

    48 bits of milliseconds, the version, and 12 bits of what is left of the millisecond; the rest is that of a random
    one. Made in the database, so that the order of ids is that of `at` where the clocks of processes differ.
    """
    microseconds = cast(func.date_part(constant("epoch"), NOW) * constant(1_000_000), BigInteger)
    milliseconds, rest = func.div(microseconds, constant(1000)), func.mod(microseconds, constant(1000))
    first_half = cast(
        milliseconds * constant(1 << 16) + constant(7 << 12) + func.div(rest * constant(1 << 12), constant(1000)),
        BigInteger,
    )
    random = func.overlay(func.uuid_send(func.gen_random_uuid()), func.int8send(first_half), constant(1))
    return cast(func.encode(random, constant("hex")), Uuid())


def audited(
    action: AuditAction,
    *,
    actor: ColumnElement[str],
    request_id: ColumnElement[str],
    source: FromClause | None = None,
    **facts: ColumnElement[Any],
) -> CTE:
    """Return the CTE that writes an act: one row, or one for each row of `source`.

    Args:
        action: what was done.
        actor: the owner of the key; '' without keys.
        request_id: of the request, or NULL.
        source: relation whose rows are the acts; none where nothing was done.
        facts: `target`, `filter` and `count`; NULL where they are left out.

    """
    given = {"target": cast(null(), Text), "filter": cast(null(), JSONB), "count": cast(null(), Integer), **facts}
    values = {
        "id": _id_of_now(),
        "at": NOW,
        "actor": actor,
        "action": constant(action),
        **given,
        "request_id": request_id,
    }
    chosen = select(*(values[name].label(name) for name in _COLUMNS))
    if source is not None:
        chosen = chosen.select_from(source)
    return insert(AuditRow).from_select(_COLUMNS, chosen).returning(AuditRow.id).cte("audited")


_after, _actor, _action = parameter("after", Uuid()), parameter("actor", Text()), parameter("action", Text())

PAGE = Statement(
    select(AuditRow)
    .where(
        AuditRow.id < _after,
        or_(_actor.is_(None), AuditRow.actor == _actor),
        or_(_action.is_(None), AuditRow.action == _action),
    )
    .order_by(AuditRow.id.desc())
    .limit(parameter("rows", Integer())),
    "Returns acts, the newest first: those before the id `after`, by `actor` and of the kind `action`; each of the two"
    " unless it is NULL.",
    indexes=("pk_audit_log",),
)
