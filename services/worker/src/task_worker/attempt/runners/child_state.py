"""What a handler can leave behind in its process, which may run other handlers after it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt_orphans() -> None:
    """Become the parent of what the processes of a handler leave behind, so that `is_alone` sees it. Linux only."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # without a C library that has it, only children are seen
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ChildState:
    """The state of this process when this is made, in the main thread: what a handler finds, whoever ran before it."""

    def __init__(self) -> None:
        self._folder = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
        self._environment = dict(os.environ)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._signal_handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._signal_mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._threads = frozenset(threading.enumerate())
        self._umask = os.umask(0)
        os.umask(self._umask)

    def is_restored(self) -> bool:
        """Restore the state, and return whether this process may run another handler.

        It may not where the state cannot be restored, a stream is closed, or something of the last handler goes on: a
        process, or a thread that is no daemon. A daemon thread may stay, as libraries start one and keep it.
        """
        try:
            self._restore()
            return self._is_alone()
        except BaseException:  # noqa: BLE001 # of what the handler has put in place of a stream, of `os.environ`, of a thread
            return False

    def _restore(self) -> None:
        os.umask(self._umask)
        os.fchdir(self._folder)
        self._restore_signals()
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for stream in self._streams:
            stream.flush()  # a ValueError if it is closed

    def _restore_signals(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm of the last handler would end the next one
        for number, handler in self._signal_handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._signal_mask)

    def _is_alone(self) -> bool:
        if any(not thread.daemon for thread in threading.enumerate() if thread not in self._threads):
            return False
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # it has ended, and nobody has asked for its exit code
        except ChildProcessError:
            return True
        return False
