"""What one waiting caller or one open stream watches, and the changes that it has not taken yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

from pydantic import TypeAdapter

from task_contracts import TaskState
from task_store import TaskFilter

BUFFER_BYTES = 1 << 20
"""Changes that one stream may leave untaken; one always fits. The changes are shared by all who watch a task."""

EVER = datetime.min.replace(tzinfo=UTC)
"""For the present state of every task named, however long ago it has ended."""

_STATE = TypeAdapter(TaskState)


@dataclass(frozen=True)
class Change:
    """A task as it was read. `cursor` is a time of the database: all that changed before it was sent before."""

    state: TaskState
    cursor: datetime

    @cached_property
    def json(self) -> str:
        """What GET /tasks/{task_id}/status answers; written once for all who watch the task."""
        return state_json(self.state)


def state_json(state: TaskState) -> str:
    """Return the text of a state."""
    return _STATE.dump_json(state).decode()


class Subscription:
    """The changes of some tasks, folded by their ids, until they are taken.

    Args:
        wanted: these tasks; without ids, all that match. Only what `matches` knows of a filter counts.
        present_since: None for changes from now on. A time for the present state of those of `wanted.ids` too that have
            not ended, or have ended at this time or later.

    """

    def __init__(self, wanted: TaskFilter, present_since: datetime | None = None) -> None:
        self.wanted = wanted
        self.began_at = time.monotonic()
        self.reads_before = 0
        """What was read by a statement that had begun by then is older than the subscription, and not sent to it."""
        self.unread = set(wanted.ids)
        """The ids that were not read yet since it began."""
        self.gone: set[UUID] = set()
        """The ids of no task."""
        self.has_missed = False
        """Changes were dropped, or the database has gone back in time: whoever watches must read all again."""
        self.is_ended = False
        """Nothing more will come: the server stops, or the caller has gone away."""
        self._present_since = present_since
        self._change_by_id: dict[UUID, Change] = {}
        self._buffered_bytes = 0
        self._is_ready = asyncio.Event()
        self._has_some = asyncio.Event()

    def wants_present(self, state: TaskState) -> bool:
        """Return whether the state that the first read has found is to be sent."""
        if self._present_since is None:
            return False
        return state.finished_at is None or state.finished_at >= self._present_since

    def put(self, change: Change) -> None:
        """Add a change, in the place of an earlier one of the same task. Where too many wait, all are dropped."""
        replaced = self._change_by_id.pop(change.state.id, None)
        self._buffered_bytes += len(change.json) - (len(replaced.json) if replaced else 0)
        self._change_by_id[change.state.id] = change
        if self._buffered_bytes > BUFFER_BYTES and len(self._change_by_id) > 1:
            self.put_missed()
        self._has_some.set()

    def put_missed(self) -> None:
        """Drop what waits, and note that whoever watches must read all again."""
        self._change_by_id.clear()
        self._buffered_bytes = 0
        self.has_missed = True
        self._has_some.set()

    def put_gone(self, task_id: UUID) -> None:
        """Note that there is no such task."""
        self.gone.add(task_id)
        self._has_some.set()

    def put_ready(self) -> None:
        """Note that from now on every change arrives."""
        self._is_ready.set()

    def end(self) -> None:
        """Nothing more will come. Safe to repeat."""
        self.is_ended = True
        self._is_ready.set()
        self._has_some.set()

    async def wait_ready(self) -> None:
        """Wait until every later change is sure to arrive: the database was read, or the subscription has ended."""
        await self._is_ready.wait()

    async def wait(self, seconds: float) -> None:
        """Wait until there is something to take, or the subscription has ended; at most so long."""
        if not self._has_some.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._has_some.wait()
            except TimeoutError:
                return

    def take(self) -> tuple[bool, Collection[Change]]:
        """Return whether changes were missed before these, and the changes that wait, in the order they were read."""
        missed, changes = self.has_missed, self._change_by_id
        self.has_missed, self._change_by_id, self._buffered_bytes = False, {}, 0
        if not self.is_ended:
            self._has_some.clear()
        return missed, changes.values()
