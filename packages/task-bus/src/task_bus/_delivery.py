"""A message as a consumer gets it, and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from uuid import UUID

from task_bus._queues import BrokerQueue


class Verdict(Enum):
    """What the broker is to do with a message that was delivered."""

    ACK = "ack"
    """Remove it."""
    PUT_BACK = "put_back"
    """Deliver it again, before what waits in its queue."""
    DEAD_LETTER = "dead_letter"
    """Move it to the queue of dead letters, for an operator to read."""


class Delivery:
    """One message, which names due tasks of one broker queue.

    It counts against its subscription's prefetch until `ack` or `put_back` is called. Both return at once and never
    raise: verdicts are sent in the background, in the order of the calls. Only the first verdict counts. If the
    connection is lost before the broker has read it, the message is delivered again, and a claim of its ids returns
    nothing.
    """

    __slots__ = ("_settle", "ids", "queue")

    def __init__(self, queue: BrokerQueue, ids: tuple[UUID, ...], settle: Callable[[Verdict], None]) -> None:
        self.queue = queue
        self.ids = ids
        self._settle: Callable[[Verdict], None] | None = settle

    def ack(self) -> None:
        """Remove the message from its queue: a claim of each of its ids has been tried."""
        self._end(Verdict.ACK)

    def put_back(self) -> None:
        """Return the message to the head of its broker queue, for any consumer below its prefetch."""
        self._end(Verdict.PUT_BACK)

    def _end(self, verdict: Verdict) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(verdict)
