"""Runs async handlers on the worker's event loop, each in its own asyncio task: cancelling one affects no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from task_runtime import forks_end_here, owned_by, start_task
from task_worker.attempt.outcome import HandlerOutcome, Stopped
from task_worker.attempt.result import outcome_of_value
from task_worker.attempt.runners.raised import outcome_of_exception, pass_on_cancel
from task_worker.attempt.runners.time_limit import time_limit
from task_worker.lease.in_flight import Attempt
from task_worker.printed import AttemptPrints


async def run_on_loop(begin: Callable[[], Awaitable[Any]], attempt: Attempt) -> HandlerOutcome:
    """Run a handler, which `begin` calls, to its end, within its time limit.

    A stop cancels it; code that catches the cancel and goes on is waited for.
    """
    with time_limit(attempt) as limit:
        with owned_by(attempt):
            task = start_task(_call(begin), name=f"handler {attempt.claim.type}")
        if not task.done():
            limit.arm()
            attempt.on_stop(lambda: _cancel(task, attempt))
        try:
            return await task
        except asyncio.CancelledError as error:
            pass_on_cancel(error)
            if attempt.stop_reason is not None:
                return Stopped()
            return outcome_of_exception(error)  # the handler let a CancelledError of its own making escape


def _cancel(task: asyncio.Task[HandlerOutcome], attempt: Attempt) -> None:
    with owned_by(attempt):  # a cancel is passed on to what the task waits for, and that may be somebody else's
        task.cancel()


async def _call(begin: Callable[[], Awaitable[Any]]) -> HandlerOutcome:
    try:
        with forks_end_here(), AttemptPrints():
            return outcome_of_value(await begin())
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 # SystemExit too: it must not stop the event loop
        return outcome_of_exception(error)
