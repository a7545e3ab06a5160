"""Makes log lines of what handlers print, and of what Python prints of the errors in their threads.

So none steers a terminal, and each line of an attempt carries its ids; a thread that a handler starts without its
context has none (`asyncio.to_thread` passes it on). What a program that a handler starts writes itself is not seen.

**Invariants**

- What is printed while a line is logged, by a log handler of a user for example, goes where it went before: else it
  would come back here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO, cast

from task_runtime import get_logger

_log = get_logger(__name__)

LINE_CHARS_MAX = 8_192
"""A text without line breaks is logged once it is longer."""


@contextmanager
def log_prints() -> Iterator[None]:
    """Log what is printed while the block runs, and exceptions that nobody catches. For the process as a whole."""
    hooks = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = _thread_failed, _exception_ignored
    out, err = cast("TextIO", _Stream(sys.stdout)), cast("TextIO", _Stream(sys.stderr))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        _elsewhere.end_line()


_lock = threading.RLock()  # of all text that waits for its line break; a signal handler may print too
if hasattr(os, "register_at_fork"):  # not on Windows; in a forked child another thread would hold it for ever
    os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001 # as `logging` does


class AttemptPrints:
    """Takes what a `with` block prints, in any thread that gets its context, as that of one attempt.

    What is left without a line break is logged at the end of the block.
    """

    __slots__ = ("_text", "_token")

    def __init__(self) -> None:
        self._text = ""

    def __enter__(self) -> None:
        self._token = _printed.set(self)

    def __exit__(self, *exc_info: object) -> None:
        _printed.reset(self._token)
        self.end_line()

    def write(self, text: str) -> None:
        """Log the lines that `text` completes."""
        with _lock:
            *lines, self._text = (self._text + text).split("\n")
            if len(self._text) > LINE_CHARS_MAX:
                lines, self._text = [*lines, self._text], ""
        for line in lines:
            if shown := line.rstrip().rpartition("\r")[2]:  # of a progress bar what stays there
                _log.info("handler_printed", text=shown)

    def end_line(self) -> None:
        """Log what waits for its line break."""
        if self._text:
            self.write("\n")


_elsewhere = AttemptPrints()
"""Of what belongs to no attempt, as far as it is known."""

_printed: ContextVar[AttemptPrints | None] = ContextVar("printed", default=_elsewhere)
"""Of the attempt that runs here; None while a line is logged."""


class _Stream:
    """Takes the place of a standard stream: what is printed becomes log lines, all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        prints = _printed.get()
        if prints is None:
            return self._stream.write(text)
        token = _printed.set(None)
        try:
            prints.write(text)
        finally:
            _printed.reset(token)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Return whether colours are shown: not in a log line."""
        return _printed.get() is None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:  # which ends a thread in silence
        _log.error("thread_failed", thread=args.thread and args.thread.name, exc_info=args.exc_value)


def _exception_ignored(args: sys.UnraisableHookArgs) -> None:
    if args.exc_value is not None:
        _log.warning("exception_ignored", where=type(args.object).__name__, exc_info=args.exc_value)
