"""Signals within one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from task_bus._entered_once import EnteredOnce
from task_bus._memory.hub import MemoryHub
from task_bus._memory.listening import MemoryListening
from task_bus._signal_buffer import SignalBuffer
from task_contracts import Signal, SignalKind


class MemorySignals(EnteredOnce):
    """`Signals` within one process."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._buffer = SignalBuffer()
        self._listening: list[MemoryListening] = []
        self._is_open = False
        self._is_flushing = False

    @property
    def is_connected(self) -> bool:
        """See `Signals`."""
        return self._is_open

    async def wait_connected(self, timeout: float) -> None:
        """See `Signals`."""
        if not self._is_open:
            raise TimeoutError("the signals are not open")

    def send(self, signal: Signal) -> None:
        """See `Signals`."""
        if not self._is_open or not self._hub.listeners[signal.kind]:
            return
        self._buffer.add(signal)
        if not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def wait_sent(self, timeout: float) -> None:
        """See `Signals`."""
        async with asyncio.timeout(timeout):
            await asyncio.sleep(0)  # what was sent is handed on when the loop turns

    async def listen(self, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> MemoryListening:
        """See `Signals`."""
        listening = MemoryListening(self._hub, kinds, callback)
        self._listening.append(listening)
        if self._is_open:
            listening.begin()
        return listening

    def _connect(self) -> None:
        self._is_open = True
        for listening in self._listening:
            listening.begin()

    async def _disconnect(self) -> None:
        self._is_open = False
        for listening in self._listening:
            listening.end()

    def _flush(self) -> None:
        self._is_flushing = False
        for signal in self._buffer.take():
            for on_signal in tuple(self._hub.listeners[signal.kind]):
                on_signal(signal)
