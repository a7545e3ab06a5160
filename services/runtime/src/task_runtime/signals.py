"""Turns SIGTERM and SIGINT into events.

**Invariants**

- A signal only sets an event; the code that waits for it decides how to stop.
- The first signal sets `stop`, the second sets `hurry`; more change nothing.
- The previous signal handlers are put back at the end.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Self, TypeVar

_log = logging.getLogger(__name__)

_Handler = Callable[[int, FrameType | None], Any]
Result = TypeVar("Result")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ShutdownSignals:
    """Two events that SIGTERM and SIGINT set, for the length of a `with` block.

    Enter it in the main thread, on the event loop:

        with ShutdownSignals() as shutdown:
            await serve(shutdown.stop, shutdown.hurry)
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        """Set by the first signal: accept nothing new, finish what runs, end."""
        self.hurry = asyncio.Event()
        """Set by the second signal: do not wait for what runs."""
        self._loop = asyncio.get_running_loop()
        self._previous: dict[signal.Signals, _Handler | int | None] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # Not loop.add_signal_handler, which loses the previous handler and does not exist on Windows.
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            # None means a handler that Python did not install and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    async def unless_stopped(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Run `work` and return its result, or cancel it and return None if a signal comes first."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        # It may run between any two instructions, so it only hands the signal to the loop, which this call wakes.
        self._loop.call_soon_threadsafe(self._note, number)

    def _note(self, number: int) -> None:
        _log.info("shutdown_requested", extra={"signal": signal.Signals(number).name, "again": self.stop.is_set()})
        (self.hurry if self.stop.is_set() else self.stop).set()
