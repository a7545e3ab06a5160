"""Signals: hints from whoever changed something to whoever wants to look at once.

The only part of this package that an API needs, and all it may import: with it nobody can publish tasks. A signal may
be lost, and nothing rests on it: each receiver also finds out by itself, later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Protocol, Self

from task_bus._memory.hub import MemoryHub
from task_bus._memory.signals import MemorySignals
from task_bus._open import hub_for
from task_bus._rabbit.signals import RabbitSignals
from task_contracts import Signal, SignalKind

__all__ = ["Listening", "MemoryHub", "Signals", "open_signals"]


class Listening(Protocol):
    """A listener, from `listen` to `cancel`, over whatever happens to the connection."""

    async def cancel(self) -> None:
        """Stop listening. Never raises; safe to repeat."""


class Signals(Protocol):
    """Sends signals and listens to them. Made by `open_signals`, used on one event loop. `async with` connects it."""

    async def __aenter__(self) -> Self:
        """Begin to connect, in the background and for as long as it takes. Never raises because of the broker.

        Raises:
            RuntimeError: it was entered before; open another one.

        """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect within 3 seconds, whatever the broker does. What has not gone out is dropped."""

    @property
    def is_connected(self) -> bool:
        """Whether signals would go out now, no alarm being on, and come in if anything listens."""

    async def wait_connected(self, timeout: float) -> None:
        """Wait until connected.

        Raises:
            TimeoutError: it was not within `timeout` seconds.

        """

    def send(self, signal: Signal) -> None:
        """Have `signal` sent in the background. Never waits, never raises; without a connection it is dropped.

        What is sent while an earlier signal of that kind and queue is on its way goes into the next one: thousands of
        `due` in a second are a few on the broker, and ids of `changed` and `cancel` travel together.
        """

    async def listen(self, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> Listening:
        """Have each signal of these kinds that arrives from now on handed to `callback`.

        `callback` is called on the event loop, only hands over, and must not raise. Signals may have been merged or
        dropped on the way: a `due` means "look", at whichever queue. Without a connection it begins with the next
        one, and after a lost connection again.
        """


def open_signals(url: str, *, name: str, hub: MemoryHub | None = None) -> Signals:
    """Return signals that are not started yet: nothing is connected here.

    Args:
        url: as for `task_bus.open_bus`.
        name: what the broker shows for the connections (one for sending; one for listening, once something does).
        hub: for `memory://`, what the other end has too.

    Raises:
        ValueError: another kind of URL, or `memory://` without a hub.

    """
    memory = hub_for(url, hub)
    return MemorySignals(memory) if memory is not None else RabbitSignals(url, name=name)
