"""The name of a line in the broker."""

from __future__ import annotations

from dataclasses import dataclass

from task_contracts import Priority


@dataclass(frozen=True, slots=True)
class BrokerQueue:
    """The broker's queue of one queue and one priority."""

    queue: str
    priority: Priority

    @property
    def name(self) -> str:
        """Its name in the broker, for example `tasks.default.high`."""
        return f"tasks.{self.queue}.{self.priority.lower()}"
