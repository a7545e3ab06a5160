"""Runs one attempt of a handler: `run` in a plain test, `arun` in an async one."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ParamSpec
from uuid import uuid4

import orjson

from task_contracts import TaskCreate, limits
from task_store import Claim
from task_worker.handlers import ExecutionMode, Handler, HandlerError, handler_of
from task_worker.json_text import json_text
from task_worker.testing.run_outcome import RunOutcome
from task_worker.testing.single_attempt import RunOptions, SingleAttempt, StillRunningError
from task_worker.timings import AttemptTimings

Arguments = ParamSpec("Arguments")

_unclosed_runners: list[asyncio.Runner] = []
"""Runners with code that does not end. Closing one would wait for that code; dropping one would cause a warning."""


async def arun(
    function: Callable[..., Any],
    payload: Mapping[str, Any] | None = None,
    *,
    name: str = "a task",
    queue: str = "default",
    labels: Mapping[str, str] | None = None,
    attempt: int = 1,
    checkpointed: object = None,
    max_attempts: int | None = None,
    timeout_seconds: float | None = None,
    cancel_after_seconds: float | None = None,
    cancel_at_percent: float | None = None,
    stop_seconds: float = AttemptTimings.stop_seconds,
    client: object = None,
    in_process_from: str | None = None,
) -> RunOutcome:
    """Run one attempt of a handler as a worker would, and return its outcome.

    An async handler runs on the event loop, a plain one in a thread. A handler that is marked `in_process` does too,
    so that it is quick and a test can patch what it uses; `in_process_from` gives it a process.

    Args:
        function: the handler.
        payload: the payload of the task, as a caller would POST it.
        name: the name of the task.
        queue: the queue of the task.
        labels: the labels of the task.
        attempt: which attempt this is, from 1. Those before it count as failed; the attempt `max_attempts` is the last.
        checkpointed: what the attempt before has kept by `context.checkpoint`.
        max_attempts: the limit of the task; if left out the handler's, else the worker's default of 3.
        timeout_seconds: the limit of the task; if left out the handler's, else the worker's default of ten minutes.
        cancel_after_seconds: a caller cancels the task this long after it began.
        cancel_at_percent: a caller cancels the task when it reports at least this progress; 0 means at the first
            report. For a plain function `context.is_stopped` is true when `progress` returns; an async function gets
            its `CancelledError` at its next await.
        stop_seconds: how long the code may still run after it was asked to stop, before that is an error.
        client: a client to use for `context.client` and `context.sync_client`, for example one with your own transport.
            You close it. Without it both can create tasks, which the outcome lists as `created`, and nothing else.
        in_process_from: where a worker finds this handler, written as in TASK_WORKER_HANDLERS. A handler that is marked
            `in_process` is then loaded from there in a process of its own, and killed when it is stopped.

    Raises:
        HandlerError: `function` is not a handler, or cannot be used as it is written.
        ValueError: no caller could create such a task, or the arguments do not go together.
        StillRunningError: the code was cancelled or ran out of time, and did not stop.
        RuntimeError: `run` was called where an event loop runs: use `await arun(…)` there.

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
    return await SingleAttempt(handler, _claim(asked, marked.type, attempt, checkpointed), options).run()


def _blocking(
    coroutine_function: Callable[Arguments, Coroutine[Any, Any, RunOutcome]],
) -> Callable[Arguments, RunOutcome]:
    @functools.wraps(coroutine_function, assigned=("__module__", "__doc__"))
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> RunOutcome:
        if _is_loop_running():
            raise RuntimeError("an event loop runs here: in an async test, `await arun(…)` in place of `run(…)`")
        # A factory, because without one the runner would replace the current event loop, which async tests may use.
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
        raise ValueError("a client cannot be passed to a process: leave out client or in_process_from")
    if is_marked and not is_in_process and options.is_cancelled:
        raise ValueError(f"{handler.type} is killed when it is cancelled, so it needs a process: add in_process_from=…")


def _in_this_process(handler: Handler) -> Handler:
    if handler.mode is not ExecutionMode.PROCESS:
        return handler
    return replace(
        handler, mode=ExecutionMode.LOOP if inspect.iscoroutinefunction(handler.function) else ExecutionMode.THREAD
    )


def _claim(asked: TaskCreate, type_: str, attempt: int, checkpointed: object) -> Claim:
    if attempt < 1:
        raise ValueError("attempt counts from 1")
    return Claim(
        id=uuid4(),
        name=asked.name,
        type=type_,
        queue=asked.queue,
        priority=asked.priority,
        labels_text=orjson.dumps(asked.labels).decode(),
        payload_text=orjson.dumps(asked.payload).decode(),
        checkpoint_text=json_text(checkpointed, limits.CHECKPOINT_BYTES),
        attempt=attempt,
        failures=attempt - 1,
        rerun_count=0,
        timeout_seconds=asked.timeout_seconds,
        max_attempts=asked.max_attempts,
        lease_token=uuid4(),
        created_at=(now := datetime.now(UTC)),
        due_at=now,
        started_at=now,
    )
