"""Runs calls into the broker's library, each with a deadline that always holds.

The library answers a lost or frozen connection with a `CancelledError` that nobody asked for, or with a bare
`Exception`; and while it cleans up after a cancelled call, it can wait for ever: for a writer that is stuck (aiormq
7.2), or for a callback that the end of the event loop has cancelled before it began (aio-pika 10.2). So each call runs
in a task of its own: that task's cancellation cannot be mistaken for the caller's, and a task that does not end is
cancelled again and again, while nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aio_pika.exceptions import CONNECTION_EXCEPTIONS

T = TypeVar("T")

_AGAIN_SECONDS = 0.2
"""Between two cancels of a call that was told to stop and does not."""


class ConnectionGivenUpError(ConnectionError):
    """The library gave the connection up during a call."""


CONNECTION_LOST: tuple[type[BaseException], ...] = CONNECTION_EXCEPTIONS
"""What the library raises when its connection is lost, with `TimeoutError` and `ConnectionGivenUpError` among them."""


async def call_broker(seconds: float, call: Awaitable[T]) -> T:
    """Run `call` for at most `seconds`, and return what it returns.

    Raises:
        TimeoutError: there was no answer in time; the call was told to stop and its outcome is unknown.
        ConnectionGivenUpError: the library gave the connection up.

    Other errors of `call` are raised as they are. If the caller is cancelled, `call` is cancelled too.

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
        if type(error) is Exception:  # what the library raises in calls that wait, where it knows no reason
            raise ConnectionGivenUpError("the connection was given up") from error
        raise


def _leave(task: asyncio.Future[T]) -> None:
    # Retrieve its exception, or asyncio reports that nobody did.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    _cancel(task)


def _cancel(task: asyncio.Future[T]) -> None:
    """Cancel a task until it ends: the end of the event loop waits for it, after a single cancel of its own."""
    if not task.done():
        task.cancel()
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS, _cancel, task)
