"""Runs plain handlers in threads. A thread cannot be stopped: its context says that it should end, and we wait."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from task_worker.attempt.outcome import HandlerOutcome, NotBegun
from task_worker.attempt.result import outcome_of_value
from task_worker.attempt.runners.raised import outcome_of_exception


async def run_in_thread(function: Callable[..., Any], arguments: tuple[Any, ...], threads: Executor) -> HandlerOutcome:
    """Run a handler to its end. It is not begun if `threads` refuse it with a RuntimeError, or memory is out."""
    context = contextvars.copy_context()
    try:
        running = asyncio.get_running_loop().run_in_executor(threads, context.run, call, function, arguments)
    except (RuntimeError, MemoryError) as error:
        return NotBegun(f"no thread: {error}")
    return await running


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> HandlerOutcome:
    """Call a plain function and return its outcome, whatever it raises."""
    try:
        return outcome_of_value(function(*arguments))
    except BaseException as error:  # noqa: BLE001 # SystemExit and TaskCancelled too
        return outcome_of_exception(error)
