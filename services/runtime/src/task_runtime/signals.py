"""How a process is asked to stop.

**Invariants**

- A signal only sets an event; whoever owns the process decides what stopping means.
- The first SIGTERM or SIGINT sets `stop`, the second sets `hurry` too; more change nothing.
- The handlers that were there before are there again afterwards.
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
    """SIGTERM and SIGINT as two events, while the `with` block lasts.

    To be entered on the event loop, in the main thread:

        with ShutdownSignals() as signals:
            await serve(until=signals.stop, drain_less_once=signals.hurry)
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        """Somebody asked the process to stop: take nothing new, finish what runs, end."""
        self.hurry = asyncio.Event()
        """Somebody asked again: do not wait for what runs."""
        self._loop = asyncio.get_running_loop()
        self._previous: dict[signal.Signals, _Handler | int | None] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # Not loop.add_signal_handler: it forgets the handler that was there, and is missing on Windows.
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            # None means a handler that Python did not install and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    async def unless_stopped(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Return the result of `work`, or None where somebody asks to stop before; the work is then cancelled."""
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
        # Between two instructions of any code: only hand over to the loop, which this also wakes.
        self._loop.call_soon_threadsafe(self._note, number)

    def _note(self, number: int) -> None:
        _log.info("shutdown_requested", extra={"signal": signal.Signals(number).name, "again": self.stop.is_set()})
        (self.hurry if self.stop.is_set() else self.stop).set()
