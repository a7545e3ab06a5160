"""What /openapi.json declares of each answer of the streams of events."""

from __future__ import annotations

from typing import Any

from task_api import examples
from task_api.openapi import Responses, errors, header
from task_api.problems import not_json, unavailable
from task_api.streams.event_stream import MEDIA_TYPE

_HEADERS = {
    "Cache-Control": header("No cache keeps a stream, and no proxy changes it."),
    "X-Accel-Buffering": header("No proxy holds events back."),
}

_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "properties": {
        "data": _TEXT | {"contentMediaType": "application/json"},
        "event": _TEXT | {"enum": ["message", "reset"]},
        "id": _TEXT,
        "retry": {"type": "integer"},
    },
}
"""One event: OpenAPI 3.1 has no word for a schema of each, and readers that know event streams take it as that."""


def _stream(description: str, example: str) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": _EVENT, "example": example}}
    return {"description": description, "content": content, "headers": _HEADERS}


TASK_EVENTS: Responses = {
    200: _stream("The stream, until the task has ended", examples.TASK_EVENTS),
    204: {"description": "The task has ended, and the caller has its last event"},
    **errors(examples.UNKNOWN_TASK, examples.WRONG_ID, unavailable()),
}
TASKS_EVENTS: Responses = {
    200: _stream("The stream, for an hour", examples.TASKS_EVENTS),
    **errors(examples.WRONG_EVENT_QUERY, unavailable()),
}
POST_EVENTS: Responses = {
    200: _stream("The stream, for an hour", examples.TASKS_EVENTS),
    **errors(examples.TOO_SLOW, examples.TOO_LARGE, not_json(), examples.WRONG_EVENT_BODY, unavailable()),
}
