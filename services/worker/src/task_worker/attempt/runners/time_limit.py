"""The time of an attempt, and its limit: it runs while the code of its handler does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from task_worker.lease.in_flight import Attempt  # not in the child, which does not import the store


class time_limit:  # noqa: N801 # a context manager; as a generator it would cost each attempt some microseconds
    """Notes how long what is done meanwhile takes, and from `arm` on stops the attempt after `timeout_seconds` of it.

    What ends before anything is waited for needs no `arm`: nothing could stop it.
    """

    __slots__ = ("_attempt", "_began_at", "_loop", "_timer")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> time_limit:
        self._loop, attempt = asyncio.get_running_loop(), self._attempt
        attempt.began_at = self._began_at = self._loop.time()
        return self

    def arm(self) -> None:
        """Begin to watch."""
        attempt = self._attempt
        self._timer = self._loop.call_at(self._began_at + attempt.timeout_seconds, attempt.time_out)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._attempt.run_seconds = self._loop.time() - self._began_at
