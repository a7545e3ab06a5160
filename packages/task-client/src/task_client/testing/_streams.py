"""The streams of events of a fake service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import httpx2

from task_client.testing._tasks import FakeTasks
from task_contracts import Task, TaskState

_BEGIN = b"retry: 2000\n\n"
_COMMENT_SECONDS = 15.0
_LOOK_SECONDS = 0.005
"""How often an asynchronous stream looks for changes: it must not hold up the event loop."""


class EventStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a stream: the state of each chosen task after each change that follows `after`.

    Args:
        tasks: all tasks.
        after: the number of a change; 0 tells the present state of all.
        is_chosen: which tasks.
        event_id: the `id:` of an event, from the task and the number of its change.
        ends: whether the stream is over once it has told a task's terminal state.

    """

    def __init__(
        self,
        tasks: FakeTasks,
        after: int,
        is_chosen: Callable[[Task], bool],
        event_id: Callable[[Task, int], int],
        *,
        ends: bool,
    ) -> None:
        self._tasks, self._after, self._is_chosen, self._event_id, self._ends = tasks, after, is_chosen, event_id, ends
        self._is_over = False

    def __iter__(self) -> Iterator[bytes]:
        yield _BEGIN
        while not self._is_over:
            with self._tasks.changed:
                has_changed = self._tasks.changed.wait_for(self._has_news, _COMMENT_SECONDS)
            yield from self._news() if has_changed else [b":\n\n"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield _BEGIN
        while not self._is_over:
            for chunk in self._news():
                yield chunk
            await asyncio.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """End the stream, from any thread."""
        with self._tasks.changed:
            self._is_over = True
            self._tasks.changed.notify_all()

    async def aclose(self) -> None:
        """End the stream."""
        self.close()

    def _has_news(self) -> bool:
        return self._is_over or self._tasks.changes > self._after

    def _news(self) -> list[bytes]:
        with self._tasks.changed:
            after, self._after = self._after, self._tasks.changes
            changed = [(change, task) for task, change in self._tasks.all() if change > after and self._is_chosen(task)]
        chunks = []
        for change, task in sorted(changed, key=lambda pair: pair[0]):
            state = TaskState.model_validate(task.model_dump()).model_dump_json()
            chunks.append(f"id: {self._event_id(task, change)}\ndata: {state}\n\n".encode())
            self._is_over |= self._ends and task.status.is_terminal
        return chunks
