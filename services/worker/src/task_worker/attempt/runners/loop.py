"""Runs async handlers on the worker's event loop, each in its own asyncio task: cancelling one affects no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from task_worker.attempt.outcome import HandlerOutcome, Stopped
from task_worker.attempt.result import outcome_of_value
from task_worker.attempt.runners.raised import outcome_of_exception
from task_worker.lease.in_flight import Attempt


async def run_on_loop(
    function: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...], attempt: Attempt
) -> HandlerOutcome:
    """Run a handler to its end. A stop cancels it; code that catches the cancel and goes on is waited for."""
    task = asyncio.create_task(_call(function, arguments))
    attempt.on_stop(task.cancel)
    try:
        return await task
    except asyncio.CancelledError as error:
        if (me := asyncio.current_task()) is not None and me.cancelling():
            raise  # the event loop is closed
        if attempt.stop_reason is not None:
            return Stopped()
        return outcome_of_exception(error)  # the handler let a CancelledError of its own making escape


async def _call(function: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> HandlerOutcome:
    try:
        return outcome_of_value(await function(*arguments))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 # SystemExit too: it must not stop the event loop
        return outcome_of_exception(error)
