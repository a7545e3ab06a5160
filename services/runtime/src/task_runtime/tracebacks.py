"""Formats tracebacks to be logged and stored: as Python does, but without rows, payloads and passwords."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from task_runtime.redaction import safe_text

FRAMES_MAX = 20
"""How many of the innermost frames are shown of each exception."""

_MESSAGE_CHARS = 2_000
_DEPTH_MAX = 5

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n"


def safe_traceback(error: BaseException) -> str:
    """Return the traceback of `error`, its causes and its groups included, as Python would print it.

    Every message passes through `safe_text` and is cut at 2,000 characters. Of each exception the innermost 20 frames
    are shown, and of causes and groups five levels. No local values are shown.
    """
    return "\n".join(_lines(error, _DEPTH_MAX))


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
        yield "".join(traceback.extract_tb(error.__traceback__, limit=-FRAMES_MAX).format()).rstrip()
    yield _headline(error)
    yield from map(safe_text, getattr(error, "__notes__", ()))
    if isinstance(error, BaseExceptionGroup):
        for number, member in enumerate(error.exceptions, 1):
            yield f"  +---------------- {number} ----------------"
            yield from (f"  | {line}" for part in _lines(member, depth - 1) for line in part.split("\n"))


def _headline(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 # a foreign __str__ may raise anything; Python's own traceback shows the same text
        text = "<exception str() failed>"
    message = safe_text(text)[:_MESSAGE_CHARS]
    return f"{name}: {message}" if message else name
