"""Cursors of streams over many tasks: a time of the database in microseconds since 1970, opaque to callers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

PATTERN = "^[0-9]{16}$"
"""From the year 1970 to 2286: every text that it matches is a time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT = timedelta(microseconds=1)


def encode(moment: datetime) -> str:
    """Return the cursor of a time."""
    return f"{(moment - _EPOCH) // _UNIT:016}"


def decode(cursor: str) -> datetime:
    """Return the time of a cursor, which must match `PATTERN`."""
    return _EPOCH + int(cursor) * _UNIT
