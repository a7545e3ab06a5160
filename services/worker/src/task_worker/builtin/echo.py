"""`echo` returns its payload. It is the default type, so a task with nothing but a name completes."""

from __future__ import annotations

from task_contracts import JsonValue
from task_worker.handlers import handler


@handler("echo", timeout_seconds=10)
async def echo(payload: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the payload."""
    return payload
