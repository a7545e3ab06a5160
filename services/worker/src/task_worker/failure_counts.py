"""Counts failed attempts in memory, and writes the counts every ten seconds: so failures cost no statement each.

**Invariants**

- What is written was taken away before: a write without an answer is dropped, never repeated.
- There are at most `limits.FINGERPRINTS_AN_HOUR` kinds; what comes beyond counts as `other`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from task_contracts import OTHER_FAILURE, FailureKind, limits, storable_text
from task_runtime import get_logger
from task_store import CountedFailure, Failures, StoreError

_log = get_logger(__name__)
_FLUSH_SECONDS = 10.0

CountFailure: TypeAlias = Callable[[FailureKind, str, UUID], None]
"""Is told the kind of a failure, the message of its error, and the task."""


def count_nothing(kind: FailureKind, message: str, task_id: UUID) -> None:
    """Stand for a `CountFailure` where nobody counts."""
    del kind, message, task_id


@dataclass(slots=True)
class _Count:
    count: int
    message: str
    example_id: UUID
    first_at: float
    last_at: float


class FailureCounts:
    """The failures since the last write. All calls are made on the event loop.

    Args:
        failures: where the counts are written.
        seconds: between two writes.
        clock: monotonic, in seconds.

    """

    def __init__(
        self, failures: Failures, *, seconds: float = _FLUSH_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._counts: dict[FailureKind, _Count] = {}

    def count(self, kind: FailureKind, message: str, task_id: UUID) -> None:
        """Count one failed attempt; of the message the first 500 characters are kept."""
        now = self._clock()
        if kind not in self._counts and len(self._counts) >= limits.FINGERPRINTS_AN_HOUR:
            kind = OTHER_FAILURE
        counted = self._counts.setdefault(kind, _Count(0, "", task_id, now, now))
        counted.count += 1
        counted.message = storable_text(message[: 2 * limits.FAILURE_MESSAGE_CHARS], limits.FAILURE_MESSAGE_CHARS)
        counted.example_id, counted.last_at = task_id, now

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted; dropped if the database does not answer."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        now = self._clock()
        rows = [
            CountedFailure(kind, one.count, one.message, one.example_id, now - one.first_at, now - one.last_at)
            for kind, one in counts.items()
        ]
        try:
            await self._failures.count(rows)
        except StoreError as error:
            _log.warning("failures_uncounted", failures=sum(row.count for row in rows), reason=str(error))
