"""Decides whether the process ends when the code of a handler cannot be stopped."""

from __future__ import annotations

from collections.abc import Callable

from task_runtime import get_logger
from task_worker.exits import LEASE_LOST, end_process

_log = get_logger(__name__)


class ExitPolicy:
    """Ends the process when the worker asks. While the service runs, an unstoppable thread is waited for instead.

    The API and the database run in this process too. So after a lost lease or a reload the worker waits for the thread;
    once the service is stopping, the process ends.

    Args:
        stop_database: stops a database that would outlive this process, in any thread.

    """

    def __init__(self, stop_database: Callable[[], None] = lambda: None) -> None:
        self._stop_database = stop_database
        self.is_leaving = False
        """Whether the service is stopping: then no thread is waited for."""

    def end_process(self, code: int) -> None:
        """End the process with `code`, or return where the worker has to wait for the thread."""
        if code == LEASE_LOST and not self.is_leaving:
            _log.warning("waiting_for_unstoppable_code")
            return
        self._stop_database()
        end_process(code)
