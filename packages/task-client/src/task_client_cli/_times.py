"""Times as people type and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from task_client_cli._exits import CommandError, ExitCode

_SPAN = re.compile(r"\+?(\d{1,6}(?:\.\d{1,3})?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def span_seconds(text: str) -> float | None:
    """Return the seconds of a span such as `90s`, `10m`, `1.5h` or `2d`; None if it is none."""
    found = _SPAN.fullmatch(text.strip())
    return float(found[1]) * _SECONDS[found[2]] if found else None


def seconds_of(text: str) -> float:
    """Return the seconds that somebody typed: a span, or a number.

    Raises:
        CommandError: it is neither, or none.

    """
    found = span_seconds(text) or span_seconds(f"{text}s")
    if not found:
        raise CommandError(ExitCode.USAGE, f"{text!r} is no span; type one like 90 (seconds), 10m or 2h")
    return found


def moment(text: str, *, is_ahead: bool) -> datetime:
    """Return the time that somebody typed: a date and time (local without an offset), `now`, or a span from now.

    A span lies ahead or in the past, as `is_ahead` says.

    Raises:
        CommandError: it is none of them.

    """
    now = datetime.now(UTC)
    if text.strip() == "now":
        return now
    seconds = span_seconds(text)
    try:
        if seconds is not None:
            return now + timedelta(seconds=seconds if is_ahead else -seconds)
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        example = "10m" if is_ahead else "1h (ago)"
        said = f"{text!r} is no time; type one like 2026-11-01T12:00:00Z, or {example}"
        raise CommandError(ExitCode.USAGE, said) from None


def span_text(seconds: float) -> str:
    """Return a span in one unit or two: `0.4s`, `12s`, `3m 20s`, `2h 5m`, `4d 1h`."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s".replace(".0s", "s")
    whole = int(seconds)
    for unit, smaller in (("d", "h"), ("h", "m"), ("m", "s")):
        if whole >= _SECONDS[unit]:
            rest = whole % _SECONDS[unit] // _SECONDS[smaller]
            return f"{whole // _SECONDS[unit]}{unit}" + (f" {rest}{smaller}" if rest else "")
    return f"{whole}s"


def age_text(moment_: datetime) -> str:
    """Return how far a time is from now: `3m 20s ago`, `in 2h`."""
    seconds = (datetime.now(UTC) - moment_).total_seconds()
    return f"{span_text(seconds)} ago" if seconds >= 0 else f"in {span_text(-seconds)}"
