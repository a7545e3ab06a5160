"""The response that streams events until its caller goes away, the key is over, the server stops, or an hour is over.

The framing is FastAPI's. Its own response is not used: it has a task for each stream that pings, knows no stop of the
server, and its reader's pace holds up what feeds it. sse-starlette is the same, and one dependency more.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable
from datetime import datetime

from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from task_api.access.access import Lasting
from task_api.deadlines import answer_within
from task_api.gone_callers import ended_with_caller
from task_api.parts import ApiParts
from task_api.problems import unauthenticated, unavailable
from task_api.streams.places import StreamPlaces
from task_api.watch.subscription import Subscription
from task_store import TaskFilter

MEDIA_TYPE = "text/event-stream"
COMMENT_SECONDS = 15.0
"""The longest silence: then a comment is sent, so that nobody on the way takes the connection for dead."""
STREAM_SECONDS = 3600.0
"""For so long a stream lasts. Its caller resumes it, maybe at another server: so streams spread."""
RETRY_MILLISECONDS = 2000
"""How long a caller waits before it connects again."""

_PIECE_BYTES = 64 << 10
"""What is written at once: as much as uvicorn lets wait before it waits for the reader."""
_HEADERS = {"Cache-Control": "private, no-cache, no-transform", "X-Accel-Buffering": "no"}


def reset_event(last_id: str) -> bytes:
    """Return the event that says: read again what you watch; changes were missed, or the database went back in time."""
    return format_sse_event(event="reset", data_str="{}", id=last_id)


class EventStream(Response):
    """A stream of events of the tasks that `wanted` names. Each kind of stream says what it sends.

    Args:
        parts: the watch, and the deadline within which a stream begins.
        places: it takes one of these.
        wanted: which tasks.
        present_since: see `Subscription`.

    """

    media_type = MEDIA_TYPE

    def __init__(
        self, parts: ApiParts, places: StreamPlaces, wanted: TaskFilter, present_since: datetime | None
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["Content-Length"]
        self._watch = parts.watch
        self._access = parts.access
        self._seconds = parts.deadlines.request_seconds
        self._places = places
        self._wanted = wanted
        self._present_since = present_since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream to its end. What it raises before anything was sent is answered as any error."""
        with self._places.place():
            async with (
                self._watch.subscribed(self._wanted, self._present_since) as subscription,
                ended_with_caller(receive, subscription.end),
            ):
                with self._access.lasting(scope, subscription.end) as lasting:
                    await self._stream(subscription, lasting, scope, receive, send)

    async def _stream(
        self, subscription: Subscription, lasting: Lasting, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await answer_within(self._seconds, subscription.wait_ready())
        if lasting.is_over:
            raise unauthenticated()
        if subscription.is_ended:
            raise unavailable("the server stops; try again later")
        first = await self.begin(subscription)
        if first is None:
            await Response(None, 204)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            await _write(send, [format_sse_event(retry=RETRY_MILLISECONDS), *first])
            await self._go_on(subscription, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @abstractmethod
    async def begin(self, subscription: Subscription) -> list[bytes] | None:
        """Return the first events, or None if there is nothing more to say to this caller."""

    @abstractmethod
    async def follow(self, subscription: Subscription, seconds: float) -> list[bytes]:
        """Wait for at most so long, and return the next events; empty if there are none."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the last event was returned."""

    def comment(self) -> bytes:
        """Return what is sent where there was nothing else for a while."""
        return format_sse_event(comment="still here")

    async def _go_on(self, subscription: Subscription, send: Send) -> None:
        spoke_at = time.monotonic()
        end = spoke_at + STREAM_SECONDS
        while not self.is_over and not subscription.is_ended and (now := time.monotonic()) < end:
            events = await self.follow(subscription, min(spoke_at + COMMENT_SECONDS, end) - now)
            if not events and time.monotonic() >= spoke_at + COMMENT_SECONDS:
                events = [self.comment()]
            if events and not subscription.is_ended:
                await _write(send, events)
                spoke_at = time.monotonic()


async def _write(send: Send, events: Iterable[bytes]) -> None:
    piece = bytearray()
    for event in events:
        piece += event
        if len(piece) >= _PIECE_BYTES:
            await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
            piece.clear()
    if piece:
        await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
