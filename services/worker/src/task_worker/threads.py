"""Daemon threads, for handlers and for calls that may never end. A process that ends does not wait for them.

**Invariants**

- A call is handed only to a thread that has started. If none can be started the call is refused, and never runs later.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class DaemonThreads(Executor):
    """Runs calls in up to `max_threads` threads called `name`: started when needed, then kept until `shutdown`."""

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._started = 0
        self._free = 0
        """Threads without a call, less the calls without a thread."""
        self._is_closed = False
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def submit(
        self, function: Callable[Arguments, Value], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Value]:
        """Call a function in one of the threads, once one is free; return the future of its value.

        Raises:
            RuntimeError: no thread is free and none can be started (too many of this user or container), or it is shut
                down. The function is not called.

        """
        future: Future[Value] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 # passed on to the waiter of the future
                    future.set_exception(error)

        with self._lock:
            if self._is_closed:
                raise RuntimeError(f"the threads {self._name} are shut down")
            if self._free <= 0 and self._started < self._max_threads:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
                self._started += 1
                self._free += 1
            self._free -= 1
            self._calls.put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the threads end after those that were taken. Nothing is waited for or cancelled."""
        del wait, cancel_futures
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for _ in range(self._started):
                    self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # what it holds must not live until the next one comes
            with self._lock:
                self._free += 1
