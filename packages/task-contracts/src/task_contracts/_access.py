"""Keys of callers, what they may do, and the record of what operators did (docs/access.md)."""

from __future__ import annotations

import secrets
import zlib
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from task_contracts import _limits as limits
from task_contracts._schemas import Name, _only_rfc_3339

_PREFIX = "ts_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARS = 12
_SECRET_BYTES = 32
_SECRET_CHARS = 43
"""What 32 bytes take to the base of 62."""
_CHECKSUM_CHARS = 6


class Scope(StrEnum):
    """One thing that a key may do. A key has one or more; none contains another but where it says so."""

    TASKS_READ = "tasks:read"
    """Read tasks, their attempts and counts, without payloads, results, checkpoints and tracebacks."""
    TASKS_PAYLOAD = "tasks:payload"
    """Read them with payloads, results, checkpoints and tracebacks. Contains `tasks:read`."""
    TASKS_WRITE = "tasks:write"
    """Create tasks; cancel, rerun and change one."""
    OPERATE = "operate"
    """Change many at once, pause and resume; read workers, pauses and the audit."""
    KEYS = "keys"
    """Create, list and revoke keys."""
    METRICS = "metrics"
    """Read the metrics page and the demand of a queue."""


CONTAINED_SCOPES: dict[Scope, Scope] = {Scope.TASKS_PAYLOAD: Scope.TASKS_READ}
"""Scopes that contain another one."""


def all_scopes(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes with those that they contain."""
    return scopes | {CONTAINED_SCOPES[scope] for scope in scopes if scope in CONTAINED_SCOPES}


class KeyText(NamedTuple):
    """What a caller holds: `ts_<id>_<secret><checksum>`. Its id may be shown, its secret never.

    The prefix lets scanners for secrets find it; the checksum, CRC-32 of all before it, finds typing errors without a
    look at the database.
    """

    id: str
    """12 letters and digits."""
    secret: str
    """32 random bytes, to the base of 62 in 43 characters."""

    @classmethod
    def new(cls) -> KeyText:
        """Return a key of 32 random bytes from the operating system."""
        return cls(
            "".join(secrets.choice(_DIGITS) for _ in range(_ID_CHARS)),
            _to_base_62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _SECRET_CHARS),
        )

    @classmethod
    def parse(cls, text: str) -> KeyText:
        """Return the parts of a key.

        Raises:
            ValueError: the text is no key, or was mistyped. The message does not repeat it.

        """
        id_, separator, rest = text.removeprefix(_PREFIX).partition("_")
        secret = rest[:_SECRET_CHARS]
        well_formed = (
            text.startswith(_PREFIX)
            and separator == "_"
            and len(id_) == _ID_CHARS
            and len(rest) == _SECRET_CHARS + _CHECKSUM_CHARS
            and not set(id_ + rest) - set(_DIGITS)
        )
        if not well_formed:
            raise ValueError(f"a key is {_PREFIX}, an id, an underscore and a secret: copy all of it")
        key = cls(id_, secret)
        if str(key) != text:
            raise ValueError("a character of the key is wrong or missing: copy it once more")
        return key

    def __str__(self) -> str:
        """Return the whole text, the secret included."""
        body = f"{_PREFIX}{self.id}_{self.secret}"
        return body + _to_base_62(zlib.crc32(body.encode()), _CHECKSUM_CHARS)

    def __repr__(self) -> str:
        """Return the id alone: what is logged by mistake must not be a secret."""
        return f"KeyText(id={self.id!r})"


def _to_base_62(number: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


class ApiKeyCreate(BaseModel):
    """The body of POST /keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Name = Field(description="For people: what uses the key.", examples=["billing, production"])
    scopes: Annotated[frozenset[Annotated[Scope, Field(strict=False)]], Field(min_length=1, strict=False)] = Field(
        description="What it may do; naming one twice is harmless. A key cannot give what it lacks.",
        examples=[["tasks:write", "tasks:read"]],
        json_schema_extra={"uniqueItems": False},
    )
    owner: Name | None = Field(
        default=None,
        description=(
            "Whom the key acts for. Idempotency keys belong to an owner, so a new key of the same owner repeats safely "
            "what the old one began. None: the key's own id."
        ),
        examples=["billing"],
    )
    expires_at: Annotated[AwareDatetime | None, BeforeValidator(lambda value: value and _only_rfc_3339(value))] = Field(
        default=None, strict=False, description="From when on it is refused. None: it does not expire."
    )


class ApiKey(BaseModel):
    """A key, without its secret."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(examples=["4hT0mB2kQx9Z"])
    name: str
    owner: str
    scopes: list[Scope]
    created_by: str = Field(description="The owner whose key created it; `command` for `task-api keys`.")
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    last_used_at: AwareDatetime | None = Field(default=None, description="Up to a minute late.")


class CreatedApiKey(ApiKey):
    """A key that was just created. Its text is answered this once."""

    key: str = Field(description="The text for `Authorization: Bearer`. It is stored nowhere.", repr=False)


class AuditAction(StrEnum):
    """What an operator did."""

    CANCEL_MANY = "tasks.cancel"
    RERUN_MANY = "tasks.rerun"
    PAUSE = "tasks.pause"
    RESUME = "tasks.resume"
    CREATE_KEY = "keys.create"
    REVOKE_KEY = "keys.revoke"


class AuditEntry(BaseModel):
    """One act of an operator, stored with what it changed."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    at: AwareDatetime
    actor: str = Field(description="The owner of the key; '' without keys; `command` for a command on the database.")
    action: str = Field(description="A word of `AuditAction`; newer services may have more.", examples=["tasks.cancel"])
    target: str | None = Field(default=None, description="The id of the key or the pause.")
    filter: dict[str, Any] | None = Field(default=None, description="Which tasks were meant.")
    count: int | None = Field(default=None, ge=0, description="How many tasks were changed.")
    request_id: str | None = Field(default=None, max_length=limits.NAME_CHARS)


class AuditPage(BaseModel):
    """One page of what operators did, the newest first. The last one has no `next_cursor`."""

    model_config = ConfigDict(frozen=True)

    items: list[AuditEntry]
    next_cursor: str | None = Field(default=None, description="Give it back as `cursor` for the next page.")
