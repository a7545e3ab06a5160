"""Whether this process may be ended where code of a handler cannot be stopped."""

from __future__ import annotations

from structlog.stdlib import get_logger

from task_worker.exits import LEASE_LOST, end_process

_log = get_logger(__name__)


class ExitPolicy:
    """Ends the process where it must, but not for a thread that will not stop, unless it is leaving anyway.

    The API and the database live here too: after a lost lease or a reload the worker waits for the thread instead.
    """

    def __init__(self) -> None:
        self.is_leaving = False
        """Whether the process is on its way out, so that waiting for a thread has an end."""

    def end_process(self, code: int) -> None:
        """End this process with `code`, or return where the worker should wait."""
        if code == LEASE_LOST and not self.is_leaving:
            _log.warning("waiting_for_unstoppable_code")
            return
        end_process(code)
