"""Ends a process within a bound, whatever code has left behind in it.

The end of an event loop waits for the threads of `asyncio.to_thread`, the end of the interpreter for other threads,
executors and children of `multiprocessing`. A process that is well behaved ends in order; any other is left by
`os._exit` when its time is over.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_log = logging.getLogger(__name__)

CLOSING_SECONDS = 2.0
"""How long an event loop may take to close."""
EXIT_SECONDS = 3.0
"""How long the interpreter may take to end: its threads, executors, children and `atexit` functions."""
_LAST_WORDS_SECONDS = 1.0
_AFTER_CHILDREN_SECONDS = 0.5
"""How long the end may take once the children are killed: it may have waited for nothing else."""

_exiting = threading.RLock()
"""Of the thread that leaves; nobody releases it."""


def exit_process(code: int) -> NoReturn:
    """End this process with `code`: in order if that takes at most 3 s, else by force. Call it in the main thread.

    With `run_process` before it, a process ends within 7 s of its main coroutine.

    It does what the interpreter does at its end, but for the teardown of modules: that can hang too, takes seconds on a
    busy machine, and no thread runs meanwhile that could end it with the right code.
    """
    with leaving_after(EXIT_SECONDS, code):
        for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined] # noqa: SLF001 # see above
            with contextlib.suppress(BaseException):  # Python tells of it, and goes on too
                step()
    leave_process(code)


@contextmanager
def leaving_after(seconds: float, code: int) -> Iterator[None]:
    """Leave this process with `code` if the block takes longer than `seconds`.

    Its children are killed first. If the block then ends, having waited for them alone, the process goes on.
    """
    is_done = _leave_after(seconds, code)
    try:
        yield
    finally:
        is_done.set()


def leave_within(seconds: float, code: int) -> None:
    """Let this process go on to its end, and leave it with `code` when that takes longer than `seconds`."""
    _leave_after(max(0.0, seconds - _LAST_WORDS_SECONDS - _AFTER_CHILDREN_SECONDS), code)


def leave_process(code: int) -> NoReturn:
    """End this process at once, once what was logged and printed is written. Kills children of `multiprocessing`."""
    _say_last_words()
    _exit(code)


def _leave_after(seconds: float, code: int) -> threading.Event:
    """Leave this process after so many seconds, unless the event that is returned is set by then."""
    is_done = threading.Event()

    def watch() -> None:
        if not is_done.wait(seconds):
            _say_last_words()
            if not is_done.wait(_AFTER_CHILDREN_SECONDS):
                _exit(code)

    try:
        threading.Thread(target=watch, name="leaving", daemon=True).start()
    except RuntimeError:  # no thread can be started, so nothing could bound the end
        leave_process(code)
    return is_done


def _exit(code: int) -> NoReturn:
    _exiting.acquire()  # what `os._exit` may do first (coverage writes its data) is not for two threads at once
    os._exit(code)


def _say_last_words() -> None:
    with contextlib.suppress(RuntimeError):  # no thread can be started
        # In a thread of its own: a lock may be held for ever.
        last_words = threading.Thread(target=_last_words, daemon=True)
        last_words.start()
        last_words.join(_LAST_WORDS_SECONDS)


def _last_words() -> None:
    multiprocessing = sys.modules.get("multiprocessing")  # otherwise there are no children
    children = multiprocessing.active_children() if multiprocessing is not None else []
    steps: list[Callable[[], object]] = [lambda: _log_what_is_left(children), *(child.kill for child in children)]
    steps += [handler.flush for handler in logging.getLogger().handlers]
    steps += [stream.flush for stream in (sys.stdout, sys.stderr) if stream is not None]
    for step in steps:
        with contextlib.suppress(Exception):  # it ends anyway
            step()


def _log_what_is_left(children: list[BaseProcess]) -> None:
    threads = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if threads or children:
        names = [child.name for child in children]
        _log.warning("leftovers_abandoned", extra={"threads": threads[:10], "processes": names[:10]})
