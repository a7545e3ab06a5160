"""Ends processes that code of users forks and then lets run on: a copy of this process that would go on as it does.

After `os.fork()` the child has a copy of everything: the frames that wait for its code, connections, the event loop. It
may do its work, and must not come back from it.

**Invariants**

- A child that leaves a block of `forks_end_here` ends there, with the exit code that the interpreter would give it.
- A child that was forked in a task of a guarded event loop, and goes back to the loop by awaiting something, ends
  before anything else happens there. It gets no events: the parent's connections are not read.
- A child that was forked in a thread of `asyncio.to_thread` of a guarded loop ends when it comes back to that thread.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NoReturn, ParamSpec, TypeVar
from weakref import WeakSet

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

_log = logging.getLogger(__name__)
_guarded: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
_generation = 0
"""How often this process was forked since the interpreter began. Unlike the pid it costs no system call."""


class forks_end_here:  # noqa: N801 # a context manager; as a generator it would cost each attempt some microseconds
    """Ends a child that was forked inside this block and leaves it. An exception that ends it is logged."""

    __slots__ = ("_generation",)

    def __enter__(self) -> None:
        self._generation = _generation

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _generation != self._generation:
            _end(error)


def guard_forks(loop: asyncio.AbstractEventLoop) -> None:
    """End children that are forked on `loop`, or in a thread of its `to_thread`, from now on once they go back."""
    _guarded.add(loop)
    loop.set_default_executor(_GuardedThreads(thread_name_prefix="asyncio"))


class _GuardedThreads(ThreadPoolExecutor):
    """Threads to which no forked child comes back: it would wait there for ever, with a copy of all connections."""

    def submit(
        self, function: Callable[Arguments, Value], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Value]:
        return super().submit(_call, function, *args, **kwargs)


def _call(function: Callable[Arguments, Value], /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
    with forks_end_here():
        return function(*args, **kwargs)


def _end(error: BaseException | None) -> NoReturn:
    code = _exit_code(error)
    try:
        if error is not None and not isinstance(error, SystemExit):
            _log.error("forked_child_failed", exc_info=error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:  # whatever code has put in place of a stream or of a log's handler
        os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if not isinstance(error, SystemExit):
        return int(error is not None)
    return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)


class _Fork(threading.local):
    """Takes the event loop of the forking thread away from the child. Python forgets which one it is in the child."""

    _loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        loop = asyncio._get_running_loop()  # noqa: SLF001 # `get_running_loop` raises where there is none
        self._loop = loop if loop in _guarded else None

    def end_in_child(self) -> None:
        global _generation  # of this process
        _generation += 1
        if self._loop is None:
            return
        _call_first(self._loop)
        poller = _poller(self._loop)
        if poller is not None:  # shared with the parent: the child would take events from it
            with select.epoll() as nothing:
                os.dup2(nothing.fileno(), poller)
        self._loop = None

    def end(self) -> None:
        self._loop = None


def _call_first(loop: asyncio.AbstractEventLoop) -> None:
    """Let `_end` be what a loop does next, before the other tasks and callbacks that are ready by now."""
    handle = loop.call_soon(_end, None)
    # uvloop shows its queue to the garbage collector alone.
    for ready in (getattr(loop, "_ready", None), *gc.get_referents(loop)):
        if isinstance(ready, deque) and ready and ready[-1] is handle:
            ready.rotate(1)
            return


def _poller(loop: asyncio.AbstractEventLoop) -> int | None:
    """Return the descriptor by which a loop of uvloop waits; asyncio's own runs `_end` before it reads anything."""
    backend_id = getattr(loop, "_get_backend_id", None)
    return backend_id() if backend_id is not None and hasattr(select, "epoll") else None


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    _fork = _Fork()
    os.register_at_fork(before=_fork.begin, after_in_child=_fork.end_in_child, after_in_parent=_fork.end)
