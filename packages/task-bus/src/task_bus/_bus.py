"""The interface of the bus, which both implementations have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from task_bus._delivery import Delivery
from task_bus._queues import BrokerQueue


class Subscription(Protocol):
    """A consumer of one broker queue. It lasts from `consume` to `cancel` and survives lost connections."""

    async def cancel(self) -> None:
        """Stop deliveries.

        Nothing is handed over after the call has begun. Deliveries that were handed over before can still be acked or
        put back. Takes a few seconds where the broker does not answer. Never raises; safe to repeat.
        """


class TaskBus(Protocol):
    """Carries ids of due tasks from publishers to consumers.

    Made by `open_bus`, connected by `async with`, used on one event loop. It decides nothing: a lost message costs
    time, never a task.
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

        Verdicts given so far are sent; what is unsettled goes back to its broker queue. Where many verdicts are given
        just before, the broker may miss some of them: those messages are delivered again.
        """

    @property
    def is_connected(self) -> bool:
        """Whether the broker accepts and delivers messages now: both connections are set up, and no alarm is on."""

    async def wait_connected(self, timeout: float) -> None:
        """Wait until the connections for publishing and for consuming are set up.

        Raises:
            TimeoutError: they were not within `timeout` seconds.

        """

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        """Publish one message that names 1 to 200 tasks of `queue`, and wait until the broker has it on disk.

        Any number of calls may run at the same time: they share one channel. `timeout` is in seconds. Where the queue
        had been deleted, the call declares it again and may take twice `timeout` and five seconds more.

        Raises:
            BusUnavailableError: nothing was sent.
            UnroutableError: `queue` does not exist, and this bus was not opened with it.
            PublishUnconfirmedError: no confirm came in time: the message may have arrived, or may still arrive.
            ValueError: no ids, or more than 50.

        """

    async def depth(self, queue: BrokerQueue) -> int:
        """Return how many messages wait in `queue`; those that a consumer holds do not count.

        Takes one round trip. A queue of this bus that was deleted is declared again, and the answer is 0.

        Raises:
            BusUnavailableError: the broker gave no answer within five seconds, or an alarm is on.
            UnroutableError: `queue` does not exist, and this bus was not opened with it.

        """

    async def consume(
        self, queue: BrokerQueue, *, prefetch: int, on_delivery: Callable[[Delivery], None]
    ) -> Subscription:
        """Begin a consumer that calls `on_delivery` with each message of `queue`, at most `prefetch` of them unsettled.

        `on_delivery` runs on the event loop: it must return at once and must not raise. Messages that are not of this
        version go to the dead-letter queue instead. Without a connection the consumer begins on the next one. After a
        lost connection it begins again by itself, and what was unsettled is delivered again, to it or to another.

        Raises:
            UnroutableError: this bus was not opened with `queue`.

        """
