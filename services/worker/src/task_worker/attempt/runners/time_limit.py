"""The time limit of an attempt: it runs while the code of its handler does."""

from __future__ import annotations

import asyncio

from task_worker.lease.in_flight import Attempt, StopReason


class time_limit:  # noqa: N801 # a context manager; as a generator it would cost each attempt some microseconds
    """Stops the attempt if what is done meanwhile takes longer than `attempt.timeout_seconds`."""

    __slots__ = ("_attempt", "_timer")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __enter__(self) -> None:
        loop, attempt = asyncio.get_running_loop(), self._attempt
        self._timer = loop.call_later(attempt.timeout_seconds, attempt.stop, StopReason.TIMEOUT)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
