"""Formats tracebacks to be logged and stored: as Python does, but without rows, payloads and passwords."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from itertools import islice

from task_runtime.redaction import TEXT_CHARS_MAX, safe_text

FRAMES_MAX = 20
"""How many of the innermost frames are shown of each exception."""

_PART_CHARS = 2_000
_DEPTH_MAX = 5
_MEMBERS_MAX = 15
_PARTS_MAX = 1_000

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n"


def safe_traceback(error: BaseException) -> str:
    """Return the traceback of `error`, its causes and its groups included, as Python would print it.

    Every message, note and frame is cut at 2,000 characters and passes through `safe_text`. Of each exception the
    innermost 20 frames are shown, of causes and groups five levels, and of a group 15 members. No local values are
    shown. Of the whole, the last 32,768 characters are returned: the place of the error is at its end. Never raises,
    whatever the code of a foreign exception does: what came before that is shown.
    """
    parts: list[str] = []
    try:
        parts.extend(islice(_lines(error, _DEPTH_MAX), _PARTS_MAX))
    except BaseException:  # noqa: BLE001 # of a note, or of a property of the exception
        parts.append("<the rest cannot be shown>")
    return "\n".join(parts)[-TEXT_CHARS_MAX:]


def _lines(error: BaseException, depth: int) -> Iterator[str]:
    if depth == 0:
        yield "..."
        return
    if error.__cause__ is not None:
        yield from _lines(error.__cause__, depth - 1)
        yield _CAUSE
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from _lines(error.__context__, depth - 1)
        yield _CONTEXT
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield from map(_safe_part, traceback.extract_tb(error.__traceback__, limit=-FRAMES_MAX).format())
    yield _headline(error)
    yield from map(_safe_part, getattr(error, "__notes__", ()))
    if isinstance(error, BaseExceptionGroup):
        for number, member in enumerate(error.exceptions[:_MEMBERS_MAX], 1):
            yield f"  +---------------- {number} ----------------"
            yield from (f"  | {line}" for part in _lines(member, depth - 1) for line in part.split("\n"))
        if (more := len(error.exceptions) - _MEMBERS_MAX) > 0:
            yield f"  and {more} more"


def _headline(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 # a foreign __str__ may raise anything; Python's own traceback shows the same text
        text = "<exception str() failed>"
    message = _safe_part(text)
    return f"{name}: {message}" if message else name


def _safe_part(text: object) -> str:
    return safe_text(str(text), _PART_CHARS).rstrip()
