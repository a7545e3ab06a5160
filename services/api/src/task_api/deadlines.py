"""How long the API waits, and how it keeps to that.

**Invariants**

- The caller gets an answer in time, whatever the work does: the driver may take 2 s to give up a connection that does
  not answer (asyncpg 0.32), so work that is over time is cancelled and not waited for.
- What was cancelled is kept until it has ended. Each of its own awaits has a deadline, so it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Deadlines:
    """How long the API waits for each of these, at most, in seconds."""

    database_seconds: float = 60.0
    """For a database that does not answer when the process starts."""
    body_seconds: float = 30.0
    """For the body of a request to arrive."""
    request_seconds: float = 4.5
    """For the database to do what a request asks; the caller waits at most half a second more."""
    check_seconds: float = 1.5
    """For the database to answer a health check; a readiness check takes at most half a second more."""


DEADLINES = Deadlines()
"""Those that count unless others are passed in."""

_abandoned: set[asyncio.Task[Any]] = set()


async def answer_within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`.

    Raises:
        TimeoutError: it took longer than `seconds`; whether it had an effect is unknown.

    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        if not task.done():
            _abandon(task)
    if not task.done():
        raise TimeoutError(f"no answer within {seconds} s")
    return task.result()


def _abandon(task: asyncio.Task[Any]) -> None:
    _abandoned.add(task)
    task.add_done_callback(_forget)
    task.cancel()


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved: its caller has had an answer already
