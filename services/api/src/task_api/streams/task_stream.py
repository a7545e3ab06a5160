"""The stream of one task: its present state, then each change, until it has ended."""

from __future__ import annotations

from uuid import UUID

from fastapi.sse import format_sse_event

from task_api.parts import ApiParts
from task_api.problems import task_not_found
from task_api.streams.event_stream import EventStream, reset_event
from task_api.streams.places import StreamPlaces
from task_api.watch.subscription import EVER, Subscription
from task_store import TaskFilter


class TaskStream(EventStream):
    """Sends one event for each version, strictly rising; where the database went back in time, first a `reset`.

    Args:
        parts: as for `EventStream`.
        places: as for `EventStream`.
        task_id: the task.
        last_version: what the caller has already. Where that was the last, there is no stream.

    """

    def __init__(self, parts: ApiParts, places: StreamPlaces, task_id: UUID, last_version: int | None) -> None:
        super().__init__(parts, places, TaskFilter(ids=(task_id,)), EVER)
        self._task_id = task_id
        self._sent_version = last_version or 0
        self._is_over = False

    async def begin(self, subscription: Subscription) -> list[bytes] | None:
        """Return the present state, unless the caller has it.

        Raises:
            ProblemError: 404, there is no such task.

        """
        if subscription.gone:
            raise task_not_found(self._task_id)
        events = self._take(subscription)
        return None if self._is_over and not events else events

    async def follow(self, subscription: Subscription, seconds: float) -> list[bytes]:
        """Return the state if it has changed."""
        await subscription.wait(seconds)
        self._is_over = bool(subscription.gone)
        return self._take(subscription)

    @property
    def is_over(self) -> bool:
        """Whether the task has ended, or was purged."""
        return self._is_over

    def _take(self, subscription: Subscription) -> list[bytes]:
        events: list[bytes] = []
        _, changes = subscription.take()
        for change in changes:
            version = change.state.version
            if version < self._sent_version:
                events.append(reset_event(str(version)))
            if version != self._sent_version:
                events.append(format_sse_event(data_str=change.json, id=str(version)))
            self._sent_version = version
            self._is_over = change.state.status.is_terminal
        return events
