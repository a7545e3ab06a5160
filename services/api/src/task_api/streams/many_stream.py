"""The stream of many tasks: those with given ids, or all that match a filter."""

from __future__ import annotations

import time
from datetime import datetime

from fastapi.sse import format_sse_event

from task_api.deadlines import answer_within
from task_api.parts import ApiParts
from task_api.streams import cursors
from task_api.streams.event_stream import EventStream, reset_event
from task_api.streams.places import StreamPlaces
from task_api.streams.present_states import PresentStates
from task_api.watch.finished_scan import SLACK
from task_api.watch.subscription import Subscription, state_json
from task_store import StoreError, TaskFilter

_AGAIN_SECONDS = 1.5
"""After the beginning the present state is sent once more: what changed meanwhile may have been heard of by nobody."""


class ManyStream(EventStream):
    """Sends changes as they come, those of one task folded.

    Its `id:` is a cursor: a caller that resumes from it gets the present state of what has not ended, and all that has
    ended since. While the stream sends these it names no cursor, so that a caller cut off among them gets them again.

    Args:
        parts: as for `EventStream`.
        places: as for `EventStream`.
        present: reads what matches now.
        wanted: which tasks.
        resumed_at: the cursor from which to resume; None for changes from now on.

    """

    def __init__(
        self,
        parts: ApiParts,
        places: StreamPlaces,
        present: PresentStates,
        wanted: TaskFilter,
        resumed_at: datetime | None,
    ) -> None:
        self._since = None if resumed_at is None else resumed_at - SLACK
        super().__init__(parts, places, wanted, self._since)
        self._present = present
        self._again_at = float("inf")

    async def begin(self, subscription: Subscription) -> list[bytes]:
        """Return the present state if the stream is resumed, then a cursor."""
        cursor = format_sse_event(id=cursors.encode(self._watch.cursor))
        missed, changes = subscription.take()
        events = [self._reset()] if missed else []
        events += (format_sse_event(data_str=change.json) for change in changes)
        if self._since is not None and not self._wanted.ids:
            self._again_at = time.monotonic() + _AGAIN_SECONDS
            events += await self._present_events(self._since)
        return [*events, cursor]

    async def follow(self, subscription: Subscription, seconds: float) -> list[bytes]:
        """Return what has changed, and once what there is."""
        await subscription.wait(max(0.0, min(seconds, self._again_at - time.monotonic())))
        missed, changes = subscription.take()
        events = [self._reset()] if missed else []
        events += (format_sse_event(data_str=change.json, id=cursors.encode(change.cursor)) for change in changes)
        if self._since is not None and time.monotonic() >= self._again_at:
            self._again_at = float("inf")
            try:
                events += await self._present_events(self._since)
            except (StoreError, TimeoutError):
                self._again_at = time.monotonic() + _AGAIN_SECONDS
        return events

    def comment(self) -> bytes:
        """Return a comment with a cursor, so that a caller that has heard nothing for long resumes from here."""
        return format_sse_event(comment="still here", id=cursors.encode(self._watch.cursor))

    @property
    def is_over(self) -> bool:
        """Never: other tasks may come, and ended ones may be run again."""
        return False

    async def _present_events(self, since: datetime) -> list[bytes]:
        found = await answer_within(self._seconds, self._present.read(self._wanted, since))
        if found.is_cut:
            return [self._reset()]
        return [format_sse_event(data_str=state_json(state)) for state in found.states]

    def _reset(self) -> bytes:
        return reset_event(cursors.encode(self._watch.cursor))
