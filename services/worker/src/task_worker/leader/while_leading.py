"""How the leader's chores are done: again and again, while this worker leads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from task_store import StoreError
from task_worker.leader.election import Leadership

_log = structlog.get_logger(__name__)


async def while_leading(
    leadership: Leadership,
    chore: Callable[[], Awaitable[None]],
    *,
    seconds: float,
    first_seconds: float = 0.0,
    missed: str,
) -> NoReturn:
    """Do `chore` for ever: first after `first_seconds`, then `seconds` after each time, and only while we lead.

    Where the database does not answer, the log says `missed`, and the next time sees to it.
    """
    await asyncio.sleep(first_seconds)
    while True:
        await leadership.begun.wait()
        try:
            await chore()
        except StoreError as error:
            _log.warning(missed, reason=str(error))
        await asyncio.sleep(seconds)
