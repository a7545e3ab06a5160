"""Signals: short messages that tell other processes to look at something now.

This is the only part of the package that an API needs and may import: nobody can publish tasks with it. A signal may be
lost. Nothing depends on it, since each receiver also finds out by itself, only later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from task_bus._memory.hub import MemoryHub
from task_bus._memory.signals import MemorySignals
from task_bus._open import hub_for
from task_bus._rabbit.signals import RabbitSignals
from task_contracts import Signal, SignalKind

__all__ = ["Listening", "MemoryHub", "Signals", "open_signals", "send_changed"]


class Listening(Protocol):
    """A listener. It lasts from `listen` to `cancel` and survives lost connections."""

    async def cancel(self) -> None:
        """Stop listening. Never raises; safe to repeat."""


class Signals(Protocol):
    """Sends signals and listens to them. Made by `open_signals`, connected by `async with`, used on one event loop."""

    async def __aenter__(self) -> Self:
        """Begin to connect, in the background and for as long as it takes. Never raises because of the broker.

        Raises:
            RuntimeError: it was entered before; open another one.

        """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect within 3 seconds, whatever the broker does. What has not been sent is dropped."""

    @property
    def is_connected(self) -> bool:
        """Whether signals can be sent now (no alarm is on) and, if there is a listener, received."""

    async def wait_connected(self, timeout: float) -> None:
        """Wait until the connection for sending is set up, and the one for listening if there is a listener.

        Raises:
            TimeoutError: one of them was not within `timeout` seconds.

        """

    def send(self, signal: Signal) -> None:
        """Send `signal` in the background. Never waits, never raises; without a connection the signal is dropped.

        Signals that are sent while an earlier one is under way are merged by kind and queue: thousands of `due` in a
        second become a few messages, and ids of `changed` and `cancel` travel together, at most 500 in a message.

        While nobody listens to `changed`, one of them is tried each second, and the others are dropped at once: they
        cost a few microseconds. So a new listener hears of changes about a second after it has begun.
        """

    async def wait_sent(self, timeout: float) -> None:
        """Wait until all signals but the `changed` ones are with the broker, or were dropped: before a process ends.

        Raises:
            TimeoutError: they were not within `timeout` seconds.

        """

    async def listen(self, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> Listening:
        """Call `callback` with each signal of these kinds that arrives from now on.

        `callback` runs on the event loop: it must return at once and must not raise. Signals may have been merged or
        dropped on the way, so a `due` only says "look", whatever queue it names. Without a connection listening begins
        on the next one; after a lost connection it begins again.
        """


def open_signals(url: str, *, name: str, hub: MemoryHub | None = None) -> Signals:
    """Return signals, which `async with` connects. Nothing is connected here.

    Args:
        url: as for `task_bus.open_bus`.
        name: how the broker's list of connections calls them: one for sending, and one for listening once there is a
            listener.
        hub: required for `memory://`: the one that the other end has too.

    Raises:
        ValueError: another kind of URL, or `memory://` without a hub.

    """
    memory = hub_for(url, hub)
    return MemorySignals(memory) if memory is not None else RabbitSignals(url, name=name)


def send_changed(signals: Signals, ids: Collection[UUID]) -> None:
    """Say that these tasks have changed: whoever waits for one of them reads it again. Never waits, never raises."""
    signals.send(Signal(kind=SignalKind.CHANGED, ids=tuple(ids)))
