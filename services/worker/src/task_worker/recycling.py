"""Has a worker stop after so many attempts or above so much memory, so that a supervisor starts a fresh one.

**Invariants**

- The worker is asked, and decides itself when it has nothing left to do (`Worker.run`).
- A limit is raised by up to a tenth, at random, so that workers that started together do not stop together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from task_runtime import get_logger
from task_worker.timings import RecycleTimings

_log = get_logger(__name__)
_MIB = 1 << 20
_SPREAD = 0.1
"""By how much a limit may be raised: a part of it."""


@dataclass(frozen=True)
class RecycleLimits:
    """After how many attempts, and above how many MiB of resident memory, a worker stops; None for never."""

    attempts: int | None
    memory_mb: int | None


class Recycler:
    """Looks now and then whether a worker has reached a limit.

    Args:
        limits: of this worker.
        attempts: returns how many attempts have ended.
        timings: how often it looks.
        resident_bytes: returns the resident memory of the process.

    """

    def __init__(
        self,
        limits: RecycleLimits,
        attempts: Callable[[], int],
        timings: RecycleTimings | None = None,
        resident_bytes: Callable[[], int] | None = None,
    ) -> None:
        self._timings = timings or RecycleTimings()
        self._attempts = attempts
        self._resident_bytes = resident_bytes or resident_memory
        self._attempts_max = _raised(limits.attempts)
        self._bytes_max = _raised(limits.memory_mb and limits.memory_mb * _MIB)
        self._memory_due = time.monotonic()

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set once a limit is reached. It is for the length of a `with` block."""
        recycle = asyncio.Event()
        watching = asyncio.create_task(self._watch(recycle))
        try:
            yield recycle
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        if not watching.cancelled():
            watching.result()

    async def _watch(self, recycle: asyncio.Event) -> None:
        try:
            while not self._is_reached():  # noqa: ASYNC110 # nothing tells of a figure of the system
                await asyncio.sleep(self._timings.check_seconds)
        finally:
            recycle.set()  # also if this fails: without its limits the worker does not go on

    def _is_reached(self) -> bool:
        """Return whether a limit is reached, and log which."""
        if self._attempts_max is not None and (attempts := self._attempts()) >= self._attempts_max:
            _log.info("recycling", reason="tasks", attempts=attempts, limit=self._attempts_max)
            return True
        if self._bytes_max is None or time.monotonic() < self._memory_due:
            return False
        self._memory_due = time.monotonic() + self._timings.memory_seconds * random.uniform(0.5, 1.5)  # noqa: S311 # no secret
        if (resident := self._resident_bytes()) <= self._bytes_max:
            return False
        _log.info("recycling", reason="memory", memory_mb=resident // _MIB, limit=self._bytes_max // _MIB)
        return True


def resident_memory() -> int:
    """Return the resident memory of this process in bytes, without its children; outside Linux the most it has had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource  # here: it does not exist on Windows

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _raised(limit: int | None) -> int | None:
    return None if limit is None else limit + int(limit * random.uniform(0, _SPREAD))  # noqa: S311 # no secret
