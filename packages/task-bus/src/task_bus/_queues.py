"""The broker's queues, as both buses have them: their names, and how many dead letters are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from task_contracts import Priority

DEAD_MAX = 1000
"""Dead letters kept for an operator to read; where there are more, the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class BrokerQueue:
    """The queue in the broker that serves one queue and one priority."""

    queue: str
    priority: Priority

    @property
    def name(self) -> str:
        """Its name in the broker, for example `tasks.default.high`."""
        return f"tasks.{self.queue}.{self.priority.lower()}"


def broker_queues(queues: Iterable[str]) -> tuple[BrokerQueue, ...]:
    """Return the broker queues of these queues, one for each priority."""
    return tuple(BrokerQueue(queue, priority) for queue in queues for priority in Priority)
