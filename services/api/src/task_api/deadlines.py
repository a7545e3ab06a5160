"""The deadlines of the API, and the function that answers a request in time.

**Invariants**

- The caller gets an answer in time, whatever the work does. asyncpg 0.32 can take 2 s to give up a connection that
  does not answer, so work that takes too long is cancelled and not waited for.
- Cancelled work is kept in `_abandoned` until it has ended. It does end: each of its awaits has a deadline.
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
    request_seconds: float = 4.0
    """For the database to do what a request asks; the caller waits at most a second more, even where a hundred
    requests are given up at once on a slow machine.

    Creating a task may take up to 30 s where other creates are answered meanwhile: a hundred payloads of 1 MiB do not
    fit into one statement.
    """
    check_seconds: float = 1.5
    """For the database to answer a health check; a readiness check takes at most half a second more."""


DEADLINES = Deadlines()
"""The deadlines that are used unless others are passed in."""

_abandoned: set[asyncio.Task[Any]] = set()


async def answer_within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` and return its result, or give it up after `seconds`.

    Raises:
        TimeoutError: it took longer. It was cancelled; whether it had an effect is unknown.

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
        task.exception()  # read it, or asyncio logs it as never retrieved; the caller has had its answer
