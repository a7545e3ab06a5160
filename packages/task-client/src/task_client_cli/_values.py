"""Values as they are printed: text of others without control characters, times as ages, objects as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from enum import Enum
from typing import Any

from task_client_cli._times import age_text, span_text


def printable(text: str, *, is_multiline: bool = False) -> str:
    """Return text of others so that it cannot drive a terminal."""
    from task_contracts import printable_text

    return printable_text(text, is_multiline=is_multiline)


class Span(float):
    """Seconds: on a terminal as people say them, elsewhere as a number."""

    @classmethod
    def of(cls, seconds: float | None) -> Span | None:
        """Return seconds as a span; None if there are none."""
        return None if seconds is None else cls(seconds)


def value_text(value: object, *, is_terminal: bool = True) -> str:
    """Return a value as it is printed; objects and lists as JSON. On a terminal, times are ages."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return age_text(value) if is_terminal else value.isoformat()
        case Span():
            return span_text(value) if is_terminal else f"{value:.3f}"
        case float():
            return f"{value:g}"
        case Enum():
            return str(value.value)
        case dict() | list() | tuple():
            return _dumped(value)
        case _:
            return str(value)


def _dumped(value: Any) -> str:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
