"""The keys of callers: created, revoked, listed, and found by their ids. Only the hashes of their texts are stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from task_contracts import ApiKey, ApiKeyCreate, KeyText, Scope, limits
from task_store._row import Row
from task_store._statements import api_keys
from task_store.database import Database
from task_store.records import AuditContext

_LISTED_MAX = 2 * limits.API_KEYS_MAX
"""All that are valid, and as many of those that were."""
_SCOPES = frozenset(Scope)


class Revocation(StrEnum):
    """What has become of the wish to revoke a key."""

    REVOKED = "revoked"
    """It is revoked, by this call or before."""
    UNKNOWN = "unknown"
    """There is no such key."""
    LAST = "last"
    """It is the last one that has the scope `keys`, is valid and does not expire: it stays valid."""


class Refusal(StrEnum):
    """Why a key was not created."""

    EXPIRED = "expired"
    """By the database's clock it would have expired already."""
    TOO_MANY = "too_many"
    """There are `limits.API_KEYS_MAX` valid ones."""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key as it is stored, for whoever checks a text against it.

    `remaining_seconds` are those until it expires, by the database's clock; None where it does not expire.
    """

    id: str
    owner: str
    scopes: frozenset[Scope]
    secret_hash: bytes
    is_valid: bool
    remaining_seconds: float | None


def key_hash(text: bytes) -> bytes:
    """Return what is stored of the text of a key: its SHA-256, 32 bytes."""
    return sha256(text).digest()


class ApiKeys:
    """The keys in the database. Every call is one statement; what changes keys writes the audit with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, text: KeyText, asked: ApiKeyCreate, audit: AuditContext) -> ApiKey | Refusal:
        """Store a new key, valid from now on. Not safe to repeat.

        Args:
            text: the text that its holder gets; made by `KeyText.new()`.
            asked: its name, its scopes, its owner and when it expires.
            audit: who asks, which is kept as `created_by` too.

        """
        owner = text.id if asked.owner is None else asked.owner
        values = {
            "id": text.id,
            "name": asked.name,
            "owner": owner,
            "secret_hash": key_hash(str(text).encode()),
            "scopes": sorted(asked.scopes),
            "expires_at": asked.expires_at,
            "most": limits.API_KEYS_MAX,
        }
        (row,) = await self._database.fetch(api_keys.CREATE, {**values, **_written(audit)})
        if row["created_at"] is None:
            return Refusal.TOO_MANY if row["is_to_expire_later"] else Refusal.EXPIRED
        return ApiKey(
            id=text.id,
            name=asked.name,
            owner=owner,
            scopes=sorted(asked.scopes),
            created_by=audit.actor,
            created_at=row["created_at"],
            expires_at=asked.expires_at,
        )

    async def revoke(self, key_id: str, audit: AuditContext) -> Revocation:
        """Revoke a key, unless it is the last one by which others can be created. Safe to repeat.

        Of any number of calls at once one key is left that has the scope `keys`, is valid and does not expire.
        """
        rows = await self._database.fetch(api_keys.REVOKE, {"id": key_id, **_written(audit)})
        if not rows:
            return Revocation.UNKNOWN
        return Revocation.LAST if rows[0]["is_last"] else Revocation.REVOKED

    async def list(self, *, with_invalid: bool = True) -> list[ApiKey]:
        """Return the keys, the valid ones first and the newest of each kind; at most twice `limits.API_KEYS_MAX`.

        `with_invalid`: also those that were revoked or have expired.
        """
        values = {"rows": _LISTED_MAX, "with_invalid": with_invalid}
        rows = await self._database.fetch(api_keys.LIST, values)
        return [ApiKey.model_construct(**{**row, "scopes": sorted(_known(row))}) for row in rows]

    async def find(self, key_id: str) -> FoundKey | None:
        """Return a key, revoked and expired ones too; None if there is none of this id."""
        rows = await self._database.fetch(api_keys.FIND, {"id": key_id})
        if not rows:
            return None
        (row,) = rows
        return FoundKey(
            id=row["id"],
            owner=row["owner"],
            scopes=_known(row),
            secret_hash=row["secret_hash"],
            is_valid=row["is_valid"],
            remaining_seconds=row["remaining_seconds"],
        )

    async def note_use(self, key_id: str) -> None:
        """Note that a key is in use, at most once a minute. Safe to repeat."""
        await self._database.fetch(api_keys.NOTE_USE, {"id": key_id})


def _written(audit: AuditContext) -> dict[str, str | None]:
    return {"actor": audit.actor, "request_id": audit.request_id}


def _known(row: Row) -> frozenset[Scope]:
    """Return the scopes of a key that this version knows: a newer one may have given others."""
    return frozenset(Scope(word) for word in row["scopes"] if word in _SCOPES)
