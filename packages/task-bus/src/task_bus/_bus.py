"""The face of the bus: what both implementations do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from task_bus._delivery import Delivery
from task_bus._queues import BrokerQueue


class Subscription(Protocol):
    """A consumer of one broker queue, from `consume` to `cancel`, over whatever happens to the connection."""

    async def cancel(self) -> None:
        """Stop deliveries.

        From the call on nothing is handed over any more. Deliveries handed over before can still be acked or put
        back. Takes a few seconds where the broker does not answer. Never raises; safe to repeat.
        """


class TaskBus(Protocol):
    """Delivers ids of due tasks from whoever publishes them to whoever consumes them.

    Made by `open_bus`, used on one event loop. It never decides anything: losing a message costs time. `async with`
    connects it.
    """

    async def __aenter__(self) -> Self:
        """Begin to connect, in the background and for as long as it takes. Never raises because of the broker.

        Raises:
            RuntimeError: it was entered before; open another one.

        """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect within 3 seconds, whatever the broker does.

        Verdicts given so far are sent; what is unsettled goes back to its broker queue. A broker that was told much at
        the last moment may forget some of it: those messages come again.
        """

    @property
    def is_connected(self) -> bool:
        """Whether messages would be taken and delivered now: both sides connected, everything declared, no alarm."""

    async def wait_connected(self, timeout: float) -> None:
        """Wait until both sides are connected.

        Raises:
            TimeoutError: they were not within `timeout` seconds.

        """

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        """Publish one message that names 1 to 50 tasks of `queue`, and wait until the broker has it on disk.

        Call it as often at once as you like: the messages and their confirms share one channel. `timeout` is in
        seconds; it can take once more that long, and five seconds, where the queue had been deleted.

        Raises:
            BusUnavailableError: nothing was sent.
            UnroutableError: `queue` is none of this bus's and does not exist.
            PublishUnconfirmedError: whether it arrived, or will, is unknown.
            ValueError: no ids, or too many.

        """

    async def depth(self, queue: BrokerQueue) -> int:
        """Return how many messages are ready in `queue`, those already handed to a consumer not counted.

        One round trip. A queue of this bus that was deleted is declared again, and is empty.

        Raises:
            BusUnavailableError: the broker gave no answer within five seconds, or an alarm is on.
            UnroutableError: `queue` is none of this bus's and does not exist.

        """

    async def consume(
        self, queue: BrokerQueue, *, prefetch: int, on_delivery: Callable[[Delivery], None]
    ) -> Subscription:
        """Have deliveries of `queue` handed to `on_delivery`, with at most `prefetch` of them unsettled.

        `on_delivery` is called on the event loop, only hands over, and must not raise. Messages that are not of this
        version go to the dead-letter queue instead. Without a connection it begins with the next one. After a lost
        connection it begins again by itself; what was unsettled comes again, to this consumer or another.
        """
