"""Calls into the broker's library, each with a deadline that holds.

The library answers a lost or frozen connection with a `CancelledError` that nobody asked for, or with a bare
`Exception`; and while it cleans up after a cancelled call, it can wait for ever for a writer that is stuck (aiormq
7.2). So each call runs in a task of its own: that task's cancellation cannot be mistaken for the caller's, and it is
left behind when it does not end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aio_pika.exceptions import CONNECTION_EXCEPTIONS

T = TypeVar("T")


class ConnectionGivenUpError(ConnectionError):
    """The connection was given up while a call was under way."""


CONNECTION_LOST: tuple[type[BaseException], ...] = CONNECTION_EXCEPTIONS
"""What the library raises when its connection is lost, with `TimeoutError` and `ConnectionGivenUpError` among them."""


async def call_broker(seconds: float, call: Awaitable[T]) -> T:
    """Return what `call` returns.

    Raises:
        TimeoutError: there was no answer in time; the call was told to stop and its outcome is unknown.
        ConnectionGivenUpError: the library gave the connection up.

    Whatever else `call` raises comes through; the caller's own cancellation too, which stops the call.

    """
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _leave(task)
        raise
    if not done:
        _leave(task)
        raise TimeoutError(f"no answer from the broker within {seconds:g} s")
    if task.cancelled():
        raise ConnectionGivenUpError("the connection was given up")
    try:
        return task.result()
    except Exception as error:
        if type(error) is Exception:  # the library rejects what waits with a bare one where it was told no reason
            raise ConnectionGivenUpError("the connection was given up") from error
        raise


def _leave(task: asyncio.Future[T]) -> None:
    task.cancel()
    # Read whatever comes of it, or asyncio reports an exception that nobody retrieved.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
