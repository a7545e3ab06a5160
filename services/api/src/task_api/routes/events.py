"""The streams of events: of one task, and of many."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from task_api import examples
from task_api.bodies import EventBody, strict_route
from task_api.connections import most_connections
from task_api.filters import EventFilter
from task_api.parts import ApiParts
from task_api.queries import refuse_repeats
from task_api.routes.answers import TASKS
from task_api.routes.event_responses import POST_EVENTS, TASK_EVENTS, TASKS_EVENTS
from task_api.streams import cursors
from task_api.streams.event_stream import EventStream
from task_api.streams.many_stream import ManyStream
from task_api.streams.places import StreamPlaces
from task_api.streams.present_states import PresentStates
from task_api.streams.task_stream import TaskStream

EVENTS = "/api/v1/events"

_VERSION = "^[0-9]{1,10}$"
_HEADER = "Last-Event-ID"

# The published schema of each has no null, which a header cannot be.
LastVersion = Annotated[
    Annotated[str, Field(pattern=_VERSION)] | None,
    WithJsonSchema({"type": "string", "pattern": _VERSION}),
    Header(
        alias=_HEADER,
        description="The `id` of the last event that the caller has: it is not sent again.",
        examples=["4"],
    ),
]
LastCursor = Annotated[
    Annotated[str, Field(pattern=cursors.PATTERN)] | None,
    WithJsonSchema({"type": "string", "pattern": cursors.PATTERN}),
    Header(
        alias=_HEADER,
        description="The last `id` of an earlier stream: what has changed since is sent first.",
        examples=[examples.EVENT_CURSOR],
    ),
]


class EventCalls:
    """The calls that stream events, one method each.

    A stream begins within `Deadlines.request_seconds`, or is a 503. It goes on while the database is away.
    """

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._places = StreamPlaces(min(parts.settings.streams_max, most_connections() // 2))
        self._present = PresentStates(parts.watch.changes)

    async def stream_task_events(self, task_id: UUID, last_event_id: LastVersion = None) -> Response:
        """Stream the status of a task: as it is, then each time it changes, until it has ended.

        `data` is what GET /tasks/{task_id}/status answers, `id` its version; changes that come faster than they are
        read are folded. 204: the caller has the last event already.
        """
        last_version = None if last_event_id is None else int(last_event_id)
        return TaskStream(self._parts, self._places, task_id, last_version)

    async def stream_events(self, query: Annotated[EventFilter, Query()], last_event_id: LastCursor = None) -> Response:
        """Stream changes of the tasks that match, from now on.

        `data` is what GET /tasks/{task_id}/status answers, `id` a cursor. With the `Last-Event-ID` of an earlier stream
        first comes what has not ended or has since. An event may come again: keep the highest version of each task. The
        event `reset` says that changes were missed: list the tasks again.
        """
        return self._stream(query, last_event_id)

    async def post_events(self, body: EventBody, last_event_id: LastCursor = None) -> Response:
        """Stream changes as GET does, with the filter as JSON: for more ids than fit into a URL."""
        return self._stream(body, last_event_id)

    def _stream(self, wanted: EventFilter, last_event_id: str | None) -> Response:
        resumed_at = None if last_event_id is None else cursors.decode(last_event_id)
        return ManyStream(self._parts, self._places, self._present, wanted.to_filter(), resumed_at)


def add_event_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the calls to the application's own router."""
    calls = EventCalls(parts)
    route = strict_route(parts.deadlines.body_seconds)
    add = partial(
        router.add_api_route,
        tags=["events"],
        route_class_override=route,
        response_class=EventStream,
        status_code=200,  # FastAPI looks for it in the signature of the class
    )
    add(
        f"{TASKS}/{{task_id}}/events",
        calls.stream_task_events,
        operation_id="stream_task_events",
        responses=TASK_EVENTS,
    )
    add(
        EVENTS,
        calls.stream_events,
        operation_id="stream_events",
        dependencies=[Depends(refuse_repeats)],
        responses=TASKS_EVENTS,
    )
    add(EVENTS, calls.post_events, methods=["POST"], operation_id="post_events", responses=POST_EVENTS)
