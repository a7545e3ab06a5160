"""Threads for handlers under test, which may never end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class DaemonThreads(Executor):
    """A thread for each call. One that does not end keeps no test run from ending, as those of a pool would."""

    def submit(
        self, function: Callable[Arguments, Value], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Value]:
        """Call a function in a thread of its own."""
        future: Future[Value] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 # whoever waits for the future is told
                    future.set_exception(error)

        threading.Thread(target=call, name="handler", daemon=True).start()
        return future
