"""The leader's ears: while it leads, whoever rings that something is due wakes its dispatch."""

from __future__ import annotations

from task_bus.signals import Signals
from task_contracts import Signal, SignalKind
from task_worker.leader.dispatch import Dispatch
from task_worker.leader.election import Leadership


class Ears:
    """Listens to `due` signals while this worker leads. One without a queue says that the offers have changed."""

    def __init__(self, signals: Signals, dispatch: Dispatch, leadership: Leadership) -> None:
        self._signals = signals
        self._dispatch = dispatch
        self._leadership = leadership

    async def run(self) -> None:
        """Listen for ever, while this worker leads."""
        while True:
            await self._leadership.begun.wait()
            self._dispatch.offers_changed()
            listening = await self._signals.listen({SignalKind.DUE}, self._hear)
            try:
                await self._leadership.ended.wait()
            finally:
                await listening.cancel()

    def _hear(self, signal: Signal) -> None:
        if signal.queue is None:
            self._dispatch.offers_changed()
        else:
            self._dispatch.ring()
