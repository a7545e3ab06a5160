"""Daemon threads for calls that may never end. A process that exits does not wait for them, as it would for a pool."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class DaemonThreads(Executor):
    """Runs calls in up to `max_threads` threads called `name`, each of which ends when no call waits any more."""

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def submit(
        self, function: Callable[Arguments, Value], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Value]:
        """Call a function in one of the threads, once one is free; return the future of its value."""
        future: Future[Value] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 # passed on to the waiter of the future
                    future.set_exception(error)

        with self._lock:
            self._waiting.append(call)
            if self._running < self._max_threads:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
                self._running += 1
        return future

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._running -= 1
            return None
