"""Wakes the leader, whichever worker that is. A wake-up may be lost: the leader looks at the table anyway."""

from __future__ import annotations

from task_bus.signals import Signals
from task_contracts import Signal, SignalKind


class WakeUps:
    """Sends `due` signals. A signal with a queue says that a task is due; one without, that the offers have changed."""

    def __init__(self, signals: Signals, queue: str) -> None:
        """`queue`: one that this worker serves."""
        self._signals = signals
        self._queue = queue

    def task_due(self) -> None:
        """Say that a task waits again."""
        self._signals.send(Signal(kind=SignalKind.DUE, queue=self._queue))

    def offers_changed(self) -> None:
        """Say that a worker has come or gone, and with it what it offers."""
        self._signals.send(Signal(kind=SignalKind.DUE))
