"""Builds the bodies and filters of the calls about keys, the audit and pauses. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel

from task_client._bodies import checked
from task_contracts import ApiKeyCreate, PauseCreate, Priority, Scope


class Nothing(BaseModel):
    """An answer without a body (204)."""


def new_key(name: str, scopes: Iterable[Scope | str], owner: str | None, expires_at: datetime | None) -> bytes:
    """Return the body of POST /keys.

    Raises:
        ValidationFailedError: a field is wrong.

    """
    fields = {"name": name, "scopes": [*scopes], "owner": owner, "expires_at": expires_at}
    return checked(ApiKeyCreate, fields)


def new_pause(
    queue: str | None,
    type_: str | None,
    priority: Priority | None,
    reason: str | None,
    until: datetime | None,
    *,
    is_all: bool,
) -> bytes:
    """Return the body of POST /pauses.

    Raises:
        ValidationFailedError: a field is wrong.
        ValueError: it says neither which tasks nor that all are meant, or both.

    """
    if is_all is not (queue is type_ is priority is None):
        raise ValueError("name a queue, a type or a priority, or give every=True to pause all tasks: one of them")
    fields = {"queue": queue, "type": type_, "priority": priority, "reason": reason, "until": until}
    return checked(PauseCreate, fields)
