"""Reads the header Retry-After (RFC 9110, section 10.2.3) of an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_seconds(header: str) -> float | None:
    """Return the seconds, 0 or more, after which a server wants to be asked again; None if the header is not valid.

    Reads a number of seconds and all three forms of a date. A date in the past is 0.
    """
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # not a date, or an offset out of range
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # the asctime form has no zone: UTC
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
