"""Ends what a caller waits for once the caller has gone away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.types import Receive


@asynccontextmanager
async def ended_with_caller(receive: Receive, end: Callable[[], None]) -> AsyncIterator[None]:
    """Call `end` if the caller goes away before the block ends. The body of the request must have been read."""
    watching = asyncio.create_task(_until_gone(receive, end))
    try:
        yield
    finally:
        watching.cancel()


async def _until_gone(receive: Receive, end: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    end()
