"""Waits for an event with a deadline, and for the first of several coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait up to `seconds` until `event` is set; return whether it is."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return event.is_set()


async def wait_for_first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when the first of these coroutines has ended, and raise what it raised; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
