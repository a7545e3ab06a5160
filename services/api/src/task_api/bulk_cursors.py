"""Cursors of the calls that change many tasks: the position in the list, and the time of the first call.

A checksum ties each to its call and its filter: with another filter, tasks would be passed over in silence. It is no
secret, since a cursor opens nothing that a filter does not.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Self
from uuid import UUID

PATTERN = "^[A-Za-z0-9_-]{40}$"
"""What cursors look like: 30 bytes as base64url."""

BEFORE_ALL = UUID(int=(1 << 128) - 1)
"""The position before the newest task."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CHECKSUM_BYTES = 6


@dataclass(frozen=True, slots=True)
class BulkCursor:
    """Where a call goes on: after the task `after`; `began_at` is the database's time of the first call."""

    after: UUID
    began_at: datetime

    def encode(self, purpose: str) -> str:
        """Return it as a text that only a call for the same purpose takes."""
        content = self.after.bytes + ((self.began_at - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)
        return urlsafe_b64encode(content + _checksum(content, purpose)).decode()

    @classmethod
    def decode(cls, text: str, purpose: str) -> Self:
        """Return the cursor that was encoded.

        Raises:
            ValueError: it is not a text that `encode` returns for this purpose.

        """
        data = urlsafe_b64decode(text) if re.fullmatch(PATTERN, text) else b""
        content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if not data or checksum != _checksum(content, purpose):
            raise ValueError("must be the next_cursor, or the start_cursor, of this call with the same filter")
        microseconds = int.from_bytes(content[16:], "big", signed=True)
        try:
            return cls(UUID(bytes=content[:16]), _EPOCH + microseconds * _MICROSECOND)
        except OverflowError:
            raise ValueError("must be a cursor that was answered, and not one made by hand") from None


def _checksum(content: bytes, purpose: str) -> bytes:
    return sha256(content + purpose.encode()).digest()[:_CHECKSUM_BYTES]
