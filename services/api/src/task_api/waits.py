"""Lets a caller wait for a task to end. Waiting costs no statement of its own (`task_api.watch`)."""

from __future__ import annotations

import time
from uuid import UUID

from starlette.types import Receive

from task_api.gone_callers import ended_with_caller
from task_api.watch.subscription import EVER
from task_api.watch.watch import Watch
from task_store import TaskFilter


async def wait_until_ended(watch: Watch, receive: Receive, task_id: UUID, seconds: float) -> None:
    """Return when the task has ended, or is gone, or the time is over, or the server stops, or the caller has gone.

    While the database is away it goes on waiting.
    """
    end = time.monotonic() + seconds
    async with (
        watch.subscribed(TaskFilter(ids=(task_id,)), EVER) as subscription,
        ended_with_caller(receive, subscription.end),
    ):
        while not subscription.is_ended and not subscription.gone and (now := time.monotonic()) < end:
            _, changes = subscription.take()
            if any(change.state.status.is_terminal for change in changes):
                return
            await subscription.wait(end - now)
