"""Cursors: the id of the last task of a page as base64url, which callers pass back and do not build themselves."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

PATTERN = "^[A-Za-z0-9_-]{21}[AQgw]$"
"""Matches the cursors and no other text: 16 bytes as base64url leave four bits of the last character 0."""


def encode(after: UUID) -> str:
    """Return the cursor of the page that begins after the task with this id."""
    return urlsafe_b64encode(after.bytes).rstrip(b"=").decode()


def decode(cursor: str) -> UUID:
    """Return the id of the last task of the page before.

    Raises:
        ValueError: it is not a text that `encode` returns.

    """
    if not re.fullmatch(PATTERN, cursor):
        raise ValueError("must be the next_cursor of an earlier page")
    return UUID(bytes=urlsafe_b64decode(cursor + "=="))
