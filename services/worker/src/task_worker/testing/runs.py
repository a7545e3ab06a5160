"""`run` and `arun`: one attempt of a handler, in a plain and in an async test."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, ParamSpec
from uuid import uuid4

import orjson

from task_contracts import TaskCreate
from task_store import Claim
from task_worker.handlers import ExecutionMode, Handler, HandlerError, handler_of
from task_worker.testing.run_outcome import RunOutcome
from task_worker.testing.single_attempt import RunOptions, SingleAttempt, StillRunningError
from task_worker.timings import AttemptTimings

Arguments = ParamSpec("Arguments")

_unclosed_runners: list[asyncio.Runner] = []
"""Those with code that does not end: closing one would wait for it, and dropping one is a warning."""


async def arun(
    function: Callable[..., Any],
    payload: Mapping[str, Any] | None = None,
    *,
    name: str = "a task",
    queue: str = "default",
    labels: Mapping[str, str] | None = None,
    attempt: int = 1,
    max_attempts: int | None = None,
    timeout_seconds: float | None = None,
    cancel_after_seconds: float | None = None,
    cancel_at_percent: float | None = None,
    stop_seconds: float = AttemptTimings.stop_seconds,
    client: object = None,
    in_process_from: str | None = None,
) -> RunOutcome:
    """Run one attempt of a handler as a worker would, and return what came of it.

    An async handler runs on the event loop, any other in a thread; so does one that is marked `in_process`, to be quick
    and to let a test patch what it uses.

    Args:
        function: the handler.
        payload: the task's, as a caller would POST it.
        name: the task's.
        queue: the task's.
        labels: the task's.
        attempt: which attempt it is, from 1. Those before it count as failed: the one of `max_attempts` is the last.
        max_attempts: the task's own; the handler's, else a worker's default of 3, if left out.
        timeout_seconds: the task's own; the handler's, else a worker's default of ten minutes, if left out.
        cancel_after_seconds: a caller cancels the task so long after it began.
        cancel_at_percent: a caller cancels it when it reports so much progress; 0 is with its first report. A plain
            function is told before `progress` returns, an async one gets its `CancelledError` where it waits next.
        stop_seconds: how long the code may go on once it was asked to stop, before that is an error.
        client: what stands for `context.client` and `context.sync_client`, such as one with a transport of yours; yours
            to close. Without it they can create tasks, which the outcome lists as `created`, and nothing else.
        in_process_from: where a worker finds this handler (as TASK_WORKER_HANDLERS names it). Given that, one that is
            marked `in_process` is loaded from there in a process of its own, and killed when it is stopped.

    Raises:
        HandlerError: it is no handler, or one that cannot be used as it is written.
        ValueError: no caller could create such a task, or what is asked for does not go together.
        StillRunningError: it was cancelled or out of time, and did not stop.
        RuntimeError: `run` was called where an event loop runs: `await arun(…)` there.

    """
    marked = handler_of(function)
    if marked is None:
        raise HandlerError(f"{getattr(function, '__qualname__', function)} is not decorated with @handler")
    asked = TaskCreate(
        name=name,
        queue=queue,
        labels=dict(labels or {}),
        payload=dict(payload or {}),
        timeout_seconds=timeout_seconds,
        max_attempts=max_attempts,
    )
    options = RunOptions(
        is_stop_visible=marked.mode is not ExecutionMode.PROCESS,
        client=client,
        handlers_place=in_process_from,
        cancel_after_seconds=cancel_after_seconds,
        cancel_at_percent=cancel_at_percent,
        stop_seconds=stop_seconds,
    )
    _check(marked, options)
    handler = _in_this_process(marked) if in_process_from is None else marked
    return await SingleAttempt(handler, _claim(asked, marked.type, attempt), options).run()


def _blocking(
    coroutine_function: Callable[Arguments, Coroutine[Any, Any, RunOutcome]],
) -> Callable[Arguments, RunOutcome]:
    @functools.wraps(coroutine_function, assigned=("__module__", "__doc__"))
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> RunOutcome:
        if _is_loop_running():
            raise RuntimeError("an event loop runs here: in an async test, `await arun(…)` in place of `run(…)`")
        # With a factory it leaves the current loop alone, which may be that of the async tests.
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        try:
            return runner.run(coroutine_function(*args, **kwargs))
        except StillRunningError:
            _unclosed_runners.append(runner)
            raise
        finally:
            if runner not in _unclosed_runners:
                runner.close()

    return run


run = _blocking(arun)


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check(handler: Handler, options: RunOptions) -> None:
    is_marked, is_in_process = handler.mode is ExecutionMode.PROCESS, options.handlers_place is not None
    if is_in_process and not is_marked:
        raise ValueError(f"{handler.type} is not marked in_process: no worker runs it in a process of its own")
    if is_in_process and options.client is not None:
        raise ValueError("a client cannot be handed to a process: leave out client or in_process_from")
    if is_marked and not is_in_process and options.is_cancelled:
        raise ValueError(f"{handler.type} would be killed by a cancel: in_process_from=… gives it a process for that")


def _in_this_process(handler: Handler) -> Handler:
    if handler.mode is not ExecutionMode.PROCESS:
        return handler
    return replace(
        handler, mode=ExecutionMode.LOOP if inspect.iscoroutinefunction(handler.function) else ExecutionMode.THREAD
    )


def _claim(asked: TaskCreate, type_: str, attempt: int) -> Claim:
    if attempt < 1:
        raise ValueError("attempt counts from 1")
    return Claim(
        id=uuid4(),
        name=asked.name,
        type=type_,
        queue=asked.queue,
        priority=asked.priority,
        labels=asked.labels,
        payload=orjson.loads(orjson.dumps(asked.payload)),  # as it comes from the database
        attempt=attempt,
        failures=attempt - 1,
        timeout_seconds=asked.timeout_seconds,
        max_attempts=asked.max_attempts,
        lease_token=uuid4(),
    )
