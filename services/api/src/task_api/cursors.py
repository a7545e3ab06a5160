"""Cursors: where a page ended, in a form that nobody is tempted to make up."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

PATTERN = "^[A-Za-z0-9_-]{21}[AQgw]$"
"""Every cursor, and nothing else: 16 bytes as base64url leave four bits of the last character unused."""


def encode(after: UUID) -> str:
    """Return the cursor of the page that goes on after the task `after`."""
    return urlsafe_b64encode(after.bytes).rstrip(b"=").decode()


def decode(cursor: str) -> UUID:
    """Return the id that the page before ended with.

    Raises:
        ValueError: `encode` never gave this out.

    """
    if not re.fullmatch(PATTERN, cursor):
        raise ValueError("must be the next_cursor of an earlier page")
    return UUID(bytes=urlsafe_b64decode(cursor + "=="))
