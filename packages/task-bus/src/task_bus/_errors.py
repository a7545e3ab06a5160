"""What can go wrong between us and the broker.

    BusError
    ├── BusUnavailableError       not connected, or the broker takes nothing now; nothing was sent
    ├── UnroutableError           the broker gave the message back: no such queue; nothing was delivered
    └── PublishUnconfirmedError   sent, but no confirm came: it may or may not be in its queue

A task waits in its row whatever happens here. A second message costs one claim that returns nothing.
"""

from __future__ import annotations

from typing import ClassVar


class BusError(Exception):
    """Base of all errors of this package. `is_repeat_safe` says whether a repeat cannot deliver twice."""

    is_repeat_safe: ClassVar[bool]


class BusUnavailableError(BusError):
    """The broker cannot be reached or takes nothing now (a memory or disk alarm). Nothing was sent; retry later."""

    is_repeat_safe = True


class UnroutableError(BusError):
    """No queue takes the message, and nothing was delivered. `queue` is the name of the missing broker queue."""

    is_repeat_safe = True

    def __init__(self, queue: str) -> None:
        super().__init__(f"no broker queue {queue}")
        self.queue = queue


class PublishUnconfirmedError(BusError):
    """The message was sent, and whether it arrived is unknown; it may even arrive later. A repeat may deliver twice."""

    is_repeat_safe = False
