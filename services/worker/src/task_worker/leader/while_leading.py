"""Repeats one duty of the leader, while this worker leads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from task_runtime import get_logger
from task_store import StoreError
from task_worker.leader.election import Leadership

_log = get_logger(__name__)


async def while_leading(
    leadership: Leadership,
    duty: Callable[[], Awaitable[None]],
    *,
    seconds: float,
    first_seconds: float = 0.0,
    missed: str,
) -> NoReturn:
    """Call `duty` for ever while this worker leads, `seconds` after each call.

    The first call comes `first_seconds` after the worker started at the earliest; a worker that begins to lead later
    calls at once.

    Where the database does not answer, the event `missed` is logged, and the next call makes up for it.
    """
    await asyncio.sleep(first_seconds)
    while True:
        await leadership.begun.wait()
        try:
            await duty()
        except StoreError as error:
            _log.warning(missed, reason=str(error))
        await asyncio.sleep(seconds)
