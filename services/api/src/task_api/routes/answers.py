"""Where the calls stand, and their answers in JSON."""

from __future__ import annotations

from starlette.responses import Response

API = "/api/v1"
TASKS = f"{API}/tasks"

UNSHARED = {"Cache-Control": "private, no-cache"}
"""On every answer that shows a task or how the service fares: no cache may share it between callers, or use it without
asking."""


def json_answer(content: str | bytes, status: int = 200, **headers: str) -> Response:
    """Return an answer of JSON text, which is `UNSHARED`."""
    return Response(content, status, {**UNSHARED, **headers}, media_type="application/json")
