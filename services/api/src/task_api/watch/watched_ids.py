"""The tasks that are watched by their ids: who watches each, at which version it was read, and when.

**Invariants**

- A change goes to all who watch its task, but for those who began to after the statement had begun that read it.
- `_by_id` is in the order in which the ids were last read, so the first is the one that was not read for longest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from task_api.watch.filters import matches
from task_api.watch.subscription import Change, Subscription
from task_store import GONE_VERSION, UNKNOWN_VERSION, WatchedTask


@dataclass(slots=True, eq=False)
class _Watched:
    version: int = UNKNOWN_VERSION
    read_at: float = field(default_factory=time.monotonic)
    asked_before_read: int | None = None
    """Somebody wants its present state, and began to want it after so many reads."""
    subscriptions: tuple[Subscription, ...] = ()


class WatchedIds:
    """The subscriptions that name ids."""

    def __init__(self) -> None:
        self._by_id: dict[UUID, _Watched] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: UUID) -> bool:
        return task_id in self._by_id

    def add(self, subscription: Subscription) -> None:
        """Watch its ids too: each is read once more."""
        for task_id in subscription.wanted.ids:
            watched = self._by_id.setdefault(task_id, _Watched())
            if subscription not in watched.subscriptions:  # an id may be named twice
                watched.subscriptions = (*watched.subscriptions, subscription)
            watched.asked_before_read = subscription.reads_before

    def remove(self, subscription: Subscription) -> None:
        """Forget the ids that nobody else watches."""
        for task_id in subscription.wanted.ids:
            watched = self._by_id.get(task_id)
            if watched is not None:
                watched.subscriptions = tuple(one for one in watched.subscriptions if one is not subscription)
                if not watched.subscriptions:
                    del self._by_id[task_id]

    def version(self, task_id: UUID) -> int:
        """Return the version from which on a watched task is to be read."""
        watched = self._by_id[task_id]
        return UNKNOWN_VERSION if watched.asked_before_read is not None else watched.version

    def unread_since(self, moment: float, most: int) -> list[UUID]:
        """Return up to `most` ids that were last read at this time (monotonic) or before, the longest ago first."""
        first = islice(self._by_id.items(), most)
        return [task_id for task_id, watched in first if watched.read_at <= moment]

    @property
    def oldest_read(self) -> float:
        """The time (monotonic) of the read that is longest ago; infinite if nothing is watched."""
        first = next(iter(self._by_id.values()), None)
        return float("inf") if first is None else first.read_at

    def note_read(self, ids: Iterable[UUID], number: int, began_at: float) -> None:
        """Note that the read of this number has answered for these ids, after all its changes were delivered."""
        for task_id in ids:
            watched = self._by_id.pop(task_id, None)
            if watched is not None:
                watched.read_at = began_at
                if watched.asked_before_read is not None and watched.asked_before_read < number:
                    watched.asked_before_read = None
                self._by_id[task_id] = watched

    def deliver(self, task: WatchedTask, change: Change, number: int) -> bool:
        """Hand a change to those who watch its task; return whether it had another version when it was last read."""
        watched = self._by_id.get(task.state.id)
        if watched is None:
            return False
        before, watched.version = watched.version, task.state.version
        for subscription in watched.subscriptions:
            if number <= subscription.reads_before:
                continue
            if task.state.id in subscription.unread:
                is_wanted = subscription.wants_present(task.state)
            else:
                is_wanted = before != task.state.version
                if before > task.state.version:
                    subscription.put_missed()
            if is_wanted and matches(subscription.wanted, task):
                subscription.put(change)
        return before not in (UNKNOWN_VERSION, task.state.version)

    def deliver_gone(self, task_id: UUID, number: int) -> None:
        """Tell those who watch a task that there is none."""
        watched = self._by_id.get(task_id)
        if watched is not None:
            watched.version = GONE_VERSION
            for subscription in watched.subscriptions:
                if number > subscription.reads_before:
                    subscription.put_gone(task_id)
