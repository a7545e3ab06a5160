"""The errors of the bus.

    BusError
    ├── BusUnavailableError       not connected, or the broker accepts nothing now; nothing was sent
    ├── UnroutableError           there is no such broker queue; nothing was delivered
    └── PublishUnconfirmedError   sent, but not confirmed: it may or may not be in its queue

None of them loses a task: tasks are rows in PostgreSQL. A second message costs one claim that returns nothing.
"""

from __future__ import annotations

from typing import ClassVar


class BusError(Exception):
    """Base of all errors of this package. `is_repeat_safe`: repeating the call cannot deliver a message twice."""

    is_repeat_safe: ClassVar[bool]


class BusUnavailableError(BusError):
    """The broker cannot be reached, or a memory or disk alarm is on. Nothing was sent; try again later."""

    is_repeat_safe = True


class UnroutableError(BusError):
    """There is no such broker queue, and nothing was delivered. `queue` is its name."""

    is_repeat_safe = True

    def __init__(self, queue: str) -> None:
        super().__init__(f"no broker queue {queue}")
        self.queue = queue


class PublishUnconfirmedError(BusError):
    """The message was sent, but whether it arrived is unknown; it may still arrive. A repeat may deliver it twice."""

    is_repeat_safe = False
