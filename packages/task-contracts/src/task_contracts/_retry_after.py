"""The header Retry-After (RFC 9110, section 10.2.3), as whoever is answered reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_seconds(header: str) -> float | None:
    """Return after how many seconds, 0 or more, a server wants to be asked again; None if it says nothing readable.

    Seconds and all three forms of a date are read; a date that is over is 0.
    """
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # no date, or a zone beyond all bounds
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # the form of asctime names no zone, and means UTC
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
