"""One request of the REST API, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Params = tuple[tuple[str, str], ...]
"""The query of a request."""


@dataclass(frozen=True)
class Call:
    """One request. `answers` are statuses outside 2xx whose body is an answer and not a problem."""

    method: str
    path: str
    params: Params = ()
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: frozenset[int] = field(default_factory=frozenset)
    is_repeated: bool = False
    """Whether the client may repeat the request as it is, whatever became of it."""
    is_repeat_safe: bool = True
    """Whether the caller may: a create whose key the caller does not know is not safe to repeat."""
    key: str | None = None
    """The Idempotency-Key of a create."""
    held_seconds: int = 0
    """How long the service may hold its answer back (`Prefer: wait`)."""
