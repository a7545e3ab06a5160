"""What a consumer gets: ids, and the duty to say what became of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from uuid import UUID

from task_bus._queues import BrokerQueue


class Verdict(Enum):
    """What became of a delivery."""

    ACK = "ack"
    PUT_BACK = "put_back"
    DEAD_LETTER = "dead_letter"


class Delivery:
    """One message: tasks of one broker queue that are due.

    It counts against its subscription's prefetch until `ack` or `put_back` is called. Both return at once and never
    raise: the verdict is sent in the background, in the order of the calls. Only the first verdict counts. If the
    connection is lost before the broker has read it, the message comes again, and claiming its ids returns nothing.
    """

    __slots__ = ("_settle", "ids", "queue")

    def __init__(self, queue: BrokerQueue, ids: tuple[UUID, ...], settle: Callable[[Verdict], None]) -> None:
        self.queue = queue
        self.ids = ids
        self._settle: Callable[[Verdict], None] | None = settle

    def ack(self) -> None:
        """Say that every id has been tried: the message is done with."""
        self._end(Verdict.ACK)

    def put_back(self) -> None:
        """Give the message back to the head of its broker queue, for whoever has room."""
        self._end(Verdict.PUT_BACK)

    def _end(self, verdict: Verdict) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(verdict)
