"""Runs plain handlers in threads. A thread cannot be stopped: its context says that it should end, and we wait."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from task_runtime import forks_end_here, owned_by
from task_worker.attempt.outcome import HandlerOutcome, NotBegun
from task_worker.attempt.result import outcome_of_value
from task_worker.attempt.runners.raised import outcome_of_exception
from task_worker.attempt.runners.time_limit import time_limit
from task_worker.printed import AttemptPrints

if TYPE_CHECKING:
    from task_worker.lease.in_flight import Attempt  # not in the child, which does not import the store


async def run_in_thread(begin: Callable[[], Any], attempt: Attempt, threads: Executor) -> HandlerOutcome:
    """Run a handler, which `begin` calls, to its end, within its time limit.

    It is not begun if `threads` refuse it with a RuntimeError, or memory is out.
    """
    loop = asyncio.get_running_loop()
    with owned_by(attempt):
        context = contextvars.copy_context()
    with time_limit(attempt) as limit:
        limit.arm()
        try:
            running = loop.run_in_executor(threads, context.run, _call_of, attempt, begin)
        except (RuntimeError, MemoryError) as error:
            return NotBegun(f"no thread: {error}")
        return await running


def _call_of(attempt: Attempt, begin: Callable[[], Any]) -> HandlerOutcome:
    attempt.thread_id = threading.get_ident()
    try:
        return call(begin)
    finally:
        attempt.thread_id = None  # the next attempt's may be the same


def call(begin: Callable[[], Any]) -> HandlerOutcome:
    """Call a plain function and return its outcome, whatever it raises."""
    try:
        with forks_end_here(), AttemptPrints():
            return outcome_of_value(begin())
    except BaseException as error:  # noqa: BLE001 # SystemExit and TaskCancelled too
        return outcome_of_exception(error)
