"""What every log line of a piece of work says of it, such as the task and its attempt: made when a line is written.

Most work writes none, so it should cost little to have them at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, TypeAlias

from structlog.contextvars import get_contextvars

LogFields: TypeAlias = Callable[[], Mapping[str, object]]

_fields: ContextVar[LogFields | None] = ContextVar("log_fields", default=None)


def log_with(fields: LogFields) -> None:
    """Let each line that is logged in this context from now on have these fields, asked for as it is written."""
    _fields.set(fields)


def current_log_fields() -> dict[str, Any]:
    """Return the fields of lines in this context, those too that were bound with structlog."""
    fields = _fields.get()
    return {**get_contextvars(), **({} if fields is None else fields())}


def add_log_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields to a line; its own win. A processor of structlog."""
    for name, value in current_log_fields().items():
        event.setdefault(name, value)
    return event
