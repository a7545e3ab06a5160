"""A listener to signals in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection

from task_bus._memory.hub import MemoryHub
from task_contracts import Signal, SignalKind


class MemoryListening:
    """Calls `callback` with each signal of `kinds`."""

    def __init__(self, hub: MemoryHub, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> None:
        self._lists = [hub.listeners[kind] for kind in frozenset(kinds)]
        self._callback = callback

    def begin(self) -> None:
        """Begin to get signals, unless it has ended. Called once."""
        for callbacks in self._lists:
            callbacks.append(self._on_signal)

    async def cancel(self) -> None:
        """See `Listening`."""
        self.end()

    def end(self) -> None:
        """Get no more signals. Safe to repeat."""
        for callbacks in self._lists:
            if self._on_signal in callbacks:
                callbacks.remove(self._on_signal)
        self._lists = []

    def _on_signal(self, signal: Signal) -> None:
        self._callback(signal)
