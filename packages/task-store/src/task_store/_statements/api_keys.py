"""Creates, revokes, lists and finds the keys of callers. What changes keys writes the audit in the same statement.

**Invariants**

- Of the keys with the scope `keys` that are valid and do not expire, one is always left: a revocation locks them all in
  the order of their ids, counts them once they are locked, and leaves the last one. Two at once would otherwise each
  count the other's.
- Whether a key has expired is decided by the database's clock.
"""

from __future__ import annotations

from sqlalchemy import Boolean, DateTime, Integer, Text, and_, exists, func, literal_column, or_, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, insert

from task_contracts import AuditAction, Scope
from task_store._models import ApiKeyRow
from task_store._statements.audit import audited
from task_store._statements.lookups import clock
from task_store._statements.parameters import parameter
from task_store._statements.statement import Statement
from task_store._statements.transitions import NOW, constant
from task_store._statements.workers import seconds

_id, _expires_at = parameter("id", Text()), parameter("expires_at", DateTime(timezone=True))
_actor, _request_id = parameter("actor", Text()), parameter("request_id", Text())
_TABLES = ("api_keys",)
_INDEXES = ("pk_api_keys",)

_is_valid = and_(ApiKeyRow.revoked_at.is_(None), or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > NOW))
_is_to_expire_later = or_(_expires_at.is_(None), _expires_at > NOW)
_valid_keys = select(func.count()).where(_is_valid).scalar_subquery()

_GIVEN = {
    "id": _id,
    "name": parameter("name", Text()),
    "owner": parameter("owner", Text()),
    "secret_hash": parameter("secret_hash", BYTEA()),
    "scopes": parameter("scopes", ARRAY(Text())),
    "expires_at": _expires_at,
    "created_by": _actor,
    "created_at": NOW,
}
_created = (
    insert(ApiKeyRow)
    .from_select(
        list(_GIVEN),
        select(*(value.label(name) for name, value in _GIVEN.items())).where(
            _is_to_expire_later, _valid_keys < parameter("most", Integer())
        ),
    )
    .returning(ApiKeyRow.id, ApiKeyRow.created_at)
    .cte("created")
)
_create_audited = audited(
    AuditAction.CREATE_KEY, actor=_actor, request_id=_request_id, source=_created, target=_created.c.id
)

CREATE = Statement(
    select(_created.c.created_at, _is_to_expire_later.label("is_to_expire_later"))
    .select_from(clock.outerjoin(_created, true()))
    .add_cte(_create_audited),
    "Creates a key, unless it would have expired, or `most` are valid: then `created_at` is NULL. Several at once may"
    " each find room for one. Not safe to repeat.",
    indexes=_INDEXES,
    scans=_TABLES,
)

_holders = (
    select(ApiKeyRow.id)
    .where(
        ApiKeyRow.revoked_at.is_(None),
        ApiKeyRow.expires_at.is_(None),
        ApiKeyRow.scopes.contains(func.array_append(literal_column("ARRAY[]::text[]"), constant(Scope.KEYS))),
    )
    .order_by(ApiKeyRow.id)
    .with_for_update()
    .cte("holders")
)
_is_holder = exists(select(constant(1)).select_from(_holders).where(_holders.c.id == _id))
_is_another = exists(select(constant(1)).select_from(_holders).where(_holders.c.id != _id))
_is_last = and_(_is_holder, ~_is_another)
_revoked = (
    update(ApiKeyRow)
    .values(revoked_at=NOW)
    .where(ApiKeyRow.id == _id, ApiKeyRow.revoked_at.is_(None), ~_is_last)
    .returning(ApiKeyRow.id)
    .cte("revoked")
)
_revoke_audited = audited(
    AuditAction.REVOKE_KEY, actor=_actor, request_id=_request_id, source=_revoked, target=_revoked.c.id
)

REVOKE = Statement(
    select(_is_last.label("is_last")).where(ApiKeyRow.id == _id).add_cte(_revoked, _revoke_audited),
    "Revokes a key, unless it is the last one that has the scope `keys`, is valid and does not expire. No row if there"
    " is no such key. Waits for others that revoke. Safe to repeat.",
    indexes=_INDEXES,
    scans=_TABLES,
)

LIST = Statement(
    select(
        *(ApiKeyRow.id, ApiKeyRow.name, ApiKeyRow.owner, ApiKeyRow.scopes, ApiKeyRow.created_by, ApiKeyRow.created_at),
        *(ApiKeyRow.expires_at, ApiKeyRow.revoked_at, ApiKeyRow.last_used_at),
    )
    .where(or_(_is_valid, parameter("with_invalid", Boolean())))
    .order_by(_is_valid.desc(), ApiKeyRow.created_at.desc(), ApiKeyRow.id)
    .limit(parameter("rows", Integer())),
    "Returns the valid keys, or with those that were revoked or have expired, without what belongs to their secrets:"
    " the valid ones first, and of each kind the newest.",
    scans=_TABLES,
)

FIND = Statement(
    select(
        *(ApiKeyRow.id, ApiKeyRow.owner, ApiKeyRow.secret_hash, ApiKeyRow.scopes),
        _is_valid.label("is_valid"),
        seconds(ApiKeyRow.expires_at - NOW).label("remaining_seconds"),
    ).where(ApiKeyRow.id == _id),
    "Returns a key and whether it is valid. `remaining_seconds` is NULL where it does not expire.",
    indexes=_INDEXES,
)

NOTE_USE = Statement(
    update(ApiKeyRow)
    .values(last_used_at=NOW)
    .where(
        ApiKeyRow.id == _id,
        or_(
            ApiKeyRow.last_used_at.is_(None),
            ApiKeyRow.last_used_at < NOW - func.make_interval(0, 0, 0, 0, 0, constant(1)),
        ),
    ),
    "Notes that a key is in use, at most once a minute, however many processes do. Safe to repeat.",
    indexes=_INDEXES,
)
