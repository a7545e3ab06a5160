"""The subscriptions to all tasks that match a filter, and the function that matches in memory.

**Invariants**

- Subscriptions with equal filters are matched once.
- A task is matched only with the filters of its own queue and type, and with those that name none.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from task_api.watch.subscription import Subscription
from task_store import TaskFilter, WatchedTask

_Key = tuple[str | None, str | None]


def matches(wanted: TaskFilter, task: WatchedTask) -> bool:
    """Return whether a task matches the statuses, queue, type and labels of a filter; nothing else is looked at."""
    return (
        (not wanted.statuses or task.state.status in wanted.statuses)
        and wanted.queue in (None, task.queue)
        and wanted.type in (None, task.type)
        and all(task.labels.get(key) == value for key, value in wanted.labels)
    )


class Filters:
    """The subscriptions that name no ids, by their filters."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, dict[TaskFilter, dict[Subscription, None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def add(self, subscription: Subscription) -> None:
        """Let it have what matches its filter."""
        wanted = subscription.wanted
        by_filter = self._by_key.setdefault((wanted.queue, wanted.type), {})
        by_filter.setdefault(wanted, {})[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Let it have nothing more. Safe to repeat."""
        wanted = subscription.wanted
        by_filter = self._by_key.get((wanted.queue, wanted.type), {})
        subscriptions = by_filter.get(wanted, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            by_filter.pop(wanted, None)
        if not by_filter:
            self._by_key.pop((wanted.queue, wanted.type), None)

    def matching(self, task: WatchedTask) -> Iterator[Subscription]:
        """Return the subscriptions whose filters a task matches."""
        for key in product((None, task.queue), (None, task.type)):
            for wanted, subscriptions in self._by_key.get(key, {}).items():
                if matches(wanted, task):
                    yield from subscriptions
