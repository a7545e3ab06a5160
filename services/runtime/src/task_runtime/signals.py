"""Turns SIGTERM, SIGINT and SIGHUP into events.

**Invariants**

- A signal only sets an event; the code that waits for it decides how to stop.
- The first signal sets `stop`, the second sets `hurry`; more change nothing. SIGHUP sets `stop` only: where a terminal
  is closed, its shell, the kernel and `uv run` may each send one, and nobody is in a hurry.
- Where SIGHUP is ignored (`nohup`) it stays ignored.
- Code that replaces these signal handlers meanwhile has them for a second at most; then they are put back.
- The previous signal handlers are put back at the end.
- A forked child has Python's default handling of these signals: they are meant for this process alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from itertools import filterfalse
from types import FrameType
from typing import Any, Self, TypeVar

_log = logging.getLogger(__name__)

_Handler = Callable[[int, FrameType | None], Any]
Result = TypeVar("Result")

_DEFAULTS: dict[signal.Signals, _Handler | signal.Handlers] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    **({signal.SIGHUP: signal.SIG_DFL} if hasattr(signal, "SIGHUP") else {}),  # Windows has none
}
"""The signals that ask a process to stop, and how Python handles them by default."""

_CHECK_SECONDS = 1.0
"""How often it is checked that the signal handlers are still there."""


class ShutdownSignals:
    """Two events that SIGTERM, SIGINT and SIGHUP set, for the length of a `with` block.

    Enter it in the main thread, on the event loop:

        with ShutdownSignals() as shutdown:
            await serve(shutdown.stop, shutdown.hurry)

    Args:
        waits_for: what a first signal lets finish, and a second one does not: for whoever presses Ctrl-C.

    """

    def __init__(self, waits_for: str = "running tasks") -> None:
        self._waits_for = waits_for
        self.stop = asyncio.Event()
        """Set by the first signal: accept nothing new, finish what runs, end."""
        self.hurry = asyncio.Event()
        """Set by a second SIGTERM or SIGINT: do not wait for what runs."""
        self._loop = asyncio.get_running_loop()
        self._previous: dict[signal.Signals, _Handler | int | None] = {}
        self._check: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        for number in filterfalse(_is_nohup, _DEFAULTS):
            # Not loop.add_signal_handler, which loses the previous handler and does not exist on Windows.
            self._previous[number] = signal.signal(number, self._on_signal)
        self._check = self._loop.call_later(_CHECK_SECONDS, self.put_back)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cancel_check()
        for number, handler in self._previous.items():
            # None means a handler that Python did not install and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def put_back(self) -> None:
        """Install these signal handlers again where other code has replaced them. It is done each second."""
        for number in self._previous:
            if signal.getsignal(number) != self._on_signal:
                signal.signal(number, self._on_signal)
                _log.warning("signal_handler_put_back", extra={"signal": number.name})
        self._cancel_check()
        self._check = self._loop.call_later(_CHECK_SECONDS, self.put_back)

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

    def _cancel_check(self) -> None:
        if self._check is not None:
            self._check.cancel()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        # It may run between any two instructions, so it only hands the signal to the loop, which this call wakes.
        self._loop.call_soon_threadsafe(self._note, number)

    def _note(self, number: int) -> None:
        name, is_again = signal.Signals(number).name, self.stop.is_set()
        fields: dict[str, object] = {"signal": name, "again": is_again}
        if name == "SIGINT":
            how = "are not waited for" if is_again else "may finish; Ctrl-C again does not wait for them"
            fields["hint"] = f"{self._waits_for} {how}"
        _log.info("shutdown_requested", extra=fields)
        self.stop.set()
        if is_again and name != "SIGHUP":
            self.hurry.set()


def is_handled(number: signal.Signals) -> bool:
    """Return whether `ShutdownSignals` handles a signal now."""
    return isinstance(getattr(signal.getsignal(number), "__self__", None), ShutdownSignals)


def _is_nohup(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN


class _Fork(threading.local):
    """Gives a forked child Python's own handling of the signals that are handled here.

    The child inherits our handlers, which only tell an event loop that does not run in it: `terminate()` would do
    nothing. The signals are blocked meanwhile: Python drops one that reaches the child before it is ready.
    """

    _mask: set[int] | None = None

    def begin(self) -> None:
        if any(map(is_handled, _DEFAULTS)):
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULTS)

    def end_in_child(self) -> None:
        handled = list(filter(is_handled, _DEFAULTS))
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        if handled:
            signal.set_wakeup_fd(-1)  # the parent's: its event loop would be told of the child's signals
        self.end()  # a signal that is waiting ends the child here; what a hook raises would be ignored
        for number in handled:
            signal.signal(number, _DEFAULTS[number])

    def end(self) -> None:
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._mask = None


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    _fork = _Fork()
    os.register_at_fork(before=_fork.begin, after_in_child=_fork.end_in_child, after_in_parent=_fork.end)
