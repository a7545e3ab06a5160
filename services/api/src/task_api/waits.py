"""Lets a caller wait for a task to end. Waiting costs no statement of its own (`task_api.watch`)."""

from __future__ import annotations

import time
from uuid import UUID

from starlette.requests import Request

from task_api.access.access import Access
from task_api.gone_callers import ended_with_caller
from task_api.problems import unauthenticated
from task_api.watch.subscription import EVER
from task_api.watch.watch import Watch
from task_contracts import TaskState
from task_store import TaskFilter


async def wait_until_ended(
    watch: Watch, access: Access, request: Request, task_id: UUID, seconds: float
) -> TaskState | None:
    """Return when the task has ended, or the time is over, or the server stops, or the caller has gone.

    Returns the state as it is then; None if it is not known: there is no such task any more, or the database is away.
    While it is away the caller waits on.

    Raises:
        ProblemError: 401, the key of the caller was revoked or has expired meanwhile.

    """
    end = time.monotonic() + seconds
    state: TaskState | None = None
    async with (
        watch.subscribed(TaskFilter(ids=(task_id,)), EVER) as subscription,
        ended_with_caller(request.receive, subscription.end),
    ):
        with access.lasting(request.scope, subscription.end) as lasting:
            while not subscription.is_ended and not subscription.gone and (now := time.monotonic()) < end:
                _, changes = subscription.take()
                for change in changes:
                    state = change.state
                if state is not None and state.status.is_terminal:
                    return state
                await subscription.wait(end - now)
        if lasting.is_over:
            raise unauthenticated()
        return None if subscription.gone or watch.is_failing else state
