"""Runs plain handlers in threads. A thread cannot be stopped: its context says that it should end, and we wait."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from task_runtime import forks_end_here, owned_by
from task_worker.attempt.outcome import HandlerOutcome, NotBegun
from task_worker.attempt.result import outcome_of_value
from task_worker.attempt.runners.raised import outcome_of_exception

if TYPE_CHECKING:
    from task_worker.lease.in_flight import Attempt  # not in the child, which does not import the store


async def run_in_thread(begin: Callable[[], Any], attempt: Attempt, threads: Executor) -> HandlerOutcome:
    """Run a handler, which `begin` calls, to its end.

    It is not begun if `threads` refuse it with a RuntimeError, or memory is out.
    """
    loop = asyncio.get_running_loop()
    with owned_by(attempt):
        context = contextvars.copy_context()
    try:
        running = loop.run_in_executor(threads, context.run, call, begin)
    except (RuntimeError, MemoryError) as error:
        return NotBegun(f"no thread: {error}")
    return await running


def call(begin: Callable[[], Any]) -> HandlerOutcome:
    """Call a plain function and return its outcome, whatever it raises."""
    try:
        with forks_end_here():
            return outcome_of_value(begin())
    except BaseException as error:  # noqa: BLE001 # SystemExit and TaskCancelled too
        return outcome_of_exception(error)
