"""Runs handlers in processes of their own: started for one attempt, ended by signals, never outliving the worker.

The child is `task_worker.attempt.runners.child_main`. It reads one request from its standard input, which then stays
open. When it closes, the worker has ended, in whatever way, and the child ends too. To its standard output the child
writes progress and, last, the outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from task_contracts import ErrorCode, Progress, TaskError
from task_runtime import LogFormat, LogLevel
from task_worker.attempt.outcome import Failed, HandlerOutcome, Stopped
from task_worker.context import TaskDetails
from task_worker.places import Places

if TYPE_CHECKING:
    from task_worker.lease.in_flight import Attempt  # not in the child, which does not import the store

_EXIT_SECONDS = 2.0
"""How long a process may take to end after it has sent its outcome."""


@dataclass(frozen=True)
class ChildSetup:
    """How every child is set up: where its handlers are, and how it logs."""

    handlers_place: Places | None
    log_level: LogLevel
    log_format: LogFormat


@dataclass(frozen=True)
class ChildRequest:
    """What a child is to run."""

    setup: ChildSetup
    details: TaskDetails
    payload: dict[str, Any]


async def run_in_process(
    attempt: Attempt,
    details: TaskDetails,
    setup: ChildSetup,
    report: Callable[[Attempt, Progress], None],
    *,
    grace_seconds: float,
) -> HandlerOutcome:
    """Run a handler to its end. A stop sends SIGTERM to the process and all that it started, then SIGKILL.

    SIGKILL follows after `grace_seconds`, or comes at once if another worker may soon get the task.

    Raises:
        OSError: no process can be started.

    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "task_worker.attempt.runners.child_main",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    stopper = _Stopper(child.pid, attempt, grace_seconds)
    attempt.on_stop(stopper.stop)
    try:
        outcome = await _run_child(child, ChildRequest(setup, details, attempt.claim.payload), attempt, report)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                await child.wait()
    finally:
        stopper.finish()
    code = await child.wait()
    if outcome is not None:
        return outcome
    if attempt.stop_reason is not None:
        return Stopped()
    return Failed(TaskError(code=ErrorCode.PROCESS_DIED, message=f"the handler's process ended by {_cause(code)}"))


class _Stopper:
    """Ends a process group by SIGTERM, then SIGKILL after a grace; by SIGKILL at once if it is urgent."""

    def __init__(self, pid: int, attempt: Attempt, grace_seconds: float) -> None:
        self._pid = pid
        self._attempt = attempt
        self._grace_seconds = grace_seconds
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self._attempt.is_urgent:
            self.finish()
            return
        self._signal(signal.SIGTERM)
        self._timer = asyncio.get_running_loop().call_later(self._grace_seconds, self._signal, signal.SIGKILL)

    def finish(self) -> None:
        """End the process and all that it left in its group."""
        if self._timer is not None:
            self._timer.cancel()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)


async def _run_child(
    child: asyncio.subprocess.Process,
    request: ChildRequest,
    attempt: Attempt,
    report: Callable[[Attempt, Progress], None],
) -> HandlerOutcome | None:
    """Send the request, pass on progress, and return the outcome; None if the child ended without one."""
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("the child was started without its pipes")
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        child.stdin.write(framed(request))
        await child.stdin.drain()
        while True:
            message = await _read(child.stdout)
            if not isinstance(message, Progress):
                return message  # type: ignore[no-any-return] # the child sends nothing else
            report(attempt, message)
    return None


async def _read(stream: asyncio.StreamReader) -> Any:
    size = int.from_bytes(await stream.readexactly(4), "big")
    return pickle.loads(await stream.readexactly(size))  # noqa: S301 # from our own child, which runs as ourselves


def framed(message: object) -> bytes:
    """Return the bytes of a message in a pipe: its length in four bytes, then its pickle."""
    body = pickle.dumps(message)
    return len(body).to_bytes(4, "big") + body


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
