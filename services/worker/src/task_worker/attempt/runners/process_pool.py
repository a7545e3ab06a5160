"""Runs handlers in processes that are kept from one attempt to the next.

**Invariants**

- A process runs one attempt at a time. A handler begins in one that holds nothing of an earlier attempt: a process with
  something left in it, one whose attempt was stopped, and one that has run `max_attempts`, is killed with its group.
- An attempt that waits for a process has not begun: its time limit does not run, and a stop only ends the waiting.
- Attempts get processes in the order in which they asked, whichever is ready first: one that comes free or a new one.
- There are never more than `max_processes`, and none outlives the worker.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import signal
from collections import deque
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from task_contracts import ErrorCode, Progress, TaskError
from task_runtime import get_logger
from task_worker.attempt.outcome import Failed, HandlerOutcome, NotBegun, Stopped
from task_worker.attempt.runners.child_messages import (
    Begun,
    ChildAnswer,
    ChildCheckpoint,
    ChildCheckpointAnswer,
    ChildRequest,
    ChildSetup,
    Ready,
)
from task_worker.attempt.runners.child_process import ChildProcess
from task_worker.attempt.runners.time_limit import time_limit
from task_worker.checkpoint_write import CheckpointOutcome, StoreCheckpoint
from task_worker.lease.in_flight import Attempt
from task_worker.timings import AttemptTimings

_log = get_logger(__name__)


@dataclass(frozen=True)
class ChildListener:
    """What is done with what a handler in a process says while it runs: its progress, and what it keeps."""

    report: Callable[[Attempt, Progress], None]
    store_checkpoint: StoreCheckpoint


_NoProcess: TypeAlias = Failed | NotBegun
_Waiting: TypeAlias = "asyncio.Future[ChildProcess | _NoProcess | None]"

_READY = 2
"""On few cores a start is felt most: with two of them, all processes are ready for the first tasks."""


@dataclass(frozen=True)
class PoolLimits:
    """How many processes there may be, and how many attempts one of them may run. Both are at least 1."""

    max_processes: int
    max_attempts: int


class ProcessPool:
    """The processes of a worker's handlers.

    Args:
        setup: how each is set up. They all start in the folder in which the worker is when this is made.
        limits: how many there may be, and for how long.
        timings: how long a process may take to start and, once it is stopped, to end.

    """

    def __init__(self, setup: ChildSetup, limits: PoolLimits, timings: AttemptTimings) -> None:
        self._setup = setup
        self._limits = limits
        self._timings = timings
        self._folder = _current_folder()
        self._starting: set[asyncio.Task[None]] = set()
        self._idle: list[ChildProcess] = []
        self._busy = 0
        self._waiting: deque[_Waiting] = deque()
        self._ready = 0
        self._has_start_failed = False
        """Whether the last start has: then none is started but for an attempt that waits."""
        self._is_draining = False

    def keep_ready(self) -> None:
        """From now on keep two processes idle, as long as there may be more; before, one starts only when needed."""
        self._ready = _READY
        self._start_wanted()

    async def run(self, attempt: Attempt, request: ChildRequest, listener: ChildListener) -> HandlerOutcome:
        """Run a handler to its end, once a process is free.

        A stop sends SIGTERM to the process and all that it started, and SIGKILL after a grace; SIGKILL at once if
        another worker may soon get the task.

        It has not begun if no process can be started, or one ends, or files, pids or memory run out, before it has
        loaded the handlers or taken the task: that is the worker's trouble.
        """
        outcome, has_begun = await self._run_once(attempt, request, listener)
        if not has_begun and attempt.stop_reason is None:  # it has died while it was idle, just now
            outcome, has_begun = await self._run_once(attempt, request, listener)
            if not has_begun and attempt.stop_reason is None:
                return NotBegun("no process: it has ended before it took the task, twice")
        return outcome

    def drain(self) -> None:
        """Let no attempt wait for a process, now or later: it ends as `Stopped`. What has a process goes on."""
        self._is_draining = True
        while self._waiting:
            _settle(self._waiting.popleft(), None)

    async def aclose(self) -> None:
        """End the processes that run nothing, and start none any more. Safe to repeat."""
        self.drain()
        for starting in self._starting:
            starting.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.end() for child in idle if child.is_alive))

    async def _run_once(
        self, attempt: Attempt, request: ChildRequest, listener: ChildListener
    ) -> tuple[HandlerOutcome, bool]:
        """Run a handler to its end in one process; return the outcome, and False if that has died before it began."""
        child = await self._take(attempt)
        if not isinstance(child, ChildProcess):
            return child or Stopped(), True
        attempts_before = child.attempts
        stopper = _Stopper(child, attempt, self._timings.kill_grace_seconds)
        attempt.on_stop(stopper.stop)
        answer = None
        try:
            answer = await _answer(child, attempt, request, listener)
            outcome = answer.outcome if answer else await _outcome_without_answer(child, attempt)
        except MemoryError:
            if child.attempts > attempts_before:
                raise  # an answer that is too large, say: the next one would be too
            return NotBegun("no process: out of memory"), True
        else:
            return outcome, child.attempts > attempts_before
        finally:
            stopper.close()
            is_worn = child.attempts >= self._limits.max_attempts
            if answer is None or not answer.is_clean or is_worn or attempt.stop_reason is not None:
                await child.end()
            self._busy -= 1
            if child.is_alive:
                self._hand_over(child)
            self._start_wanted()

    async def _take(self, attempt: Attempt) -> ChildProcess | _NoProcess | None:
        """Wait for a process; return why there is none, or None if the attempt was stopped before it got one."""
        while self._idle:
            child = self._idle.pop()  # the one that was used last, so that those of a rare rush stay idle
            if child.is_alive:
                self._busy += 1
                self._start_wanted()
                return child
        if self._is_draining:
            return None
        waiting: _Waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        attempt.on_stop(lambda: _settle(waiting, None))
        self._start_wanted()
        return await waiting

    def _start_wanted(self) -> None:
        """Start a process for each attempt that waits, and some to be ready, as long as there may be more."""
        if self._is_draining:
            return
        ahead = 0 if self._has_start_failed else max(0, self._ready - len(self._idle))
        wanted = sum(not waiting.done() for waiting in self._waiting) + ahead
        room = self._limits.max_processes - self._busy - len(self._idle) - len(self._starting)
        for _ in range(min(wanted - len(self._starting), room)):
            # In a context of its own: what it logs is not of the attempt that asks now.
            starting = asyncio.create_task(self._start(), context=contextvars.Context())
            self._starting.add(starting)

    async def _start(self) -> None:
        """Start a process and hand it over, or what went wrong."""
        started: ChildProcess | _NoProcess
        try:
            child = await ChildProcess.start(self._setup, self._folder)
            started = await self._load(child) or child
        except Exception as error:  # noqa: BLE001 # the attempt that waits is told, and must not wait for ever
            started = NotBegun(f"no process: {error}")
        finally:
            self._starting.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._has_start_failed = not isinstance(started, ChildProcess)
        self._hand_over(started)
        self._start_wanted()

    async def _load(self, child: ChildProcess) -> _NoProcess | None:
        """Wait until a new process has loaded its handlers. If it does not, end it and return why not.

        One that has ended before it could say anything has run out of memory or pids, mostly. (A handlers' file that
        ends its process by `os._exit` looks the same, and is tried again after each delay. Errors of its import do
        not.)
        """
        is_ready = False
        seconds = self._timings.process_start_seconds
        try:
            async with asyncio.timeout(seconds):
                message = await child.read()
            is_ready = isinstance(message, Ready)
            if is_ready:
                return None
            if isinstance(message, Failed | NotBegun):
                return message
            return NotBegun(f"no process: it ended by {await child.wait_cause()} before it had loaded its handlers")
        except TimeoutError:
            text = f"the handler's process did not load its handlers within {seconds:g} s"
            return Failed(TaskError(code=ErrorCode.TIMEOUT, message=text))
        finally:
            if not is_ready:
                await child.end()

    def _hand_over(self, started: ChildProcess | _NoProcess) -> None:
        """Give a process, or why there is none, to the attempt that has waited longest; keep it if none waits."""
        while self._waiting:
            if _settle(self._waiting.popleft(), started):
                self._busy += isinstance(started, ChildProcess)
                return
        if isinstance(started, ChildProcess):
            self._idle.append(started)
        else:
            reason = started.error.message if isinstance(started, Failed) else started.reason
            _log.warning("handler_process_not_ready", reason=reason)


def _settle(waiting: _Waiting, result: ChildProcess | _NoProcess | None) -> bool:
    """Give a waiting attempt its result; return whether it still waited."""
    if waiting.done():
        return False
    waiting.set_result(result)
    return True


class _Stopper:
    """Ends a process by SIGTERM, then SIGKILL after a grace; by SIGKILL at once if it is urgent."""

    def __init__(self, child: ChildProcess, attempt: Attempt, grace_seconds: float) -> None:
        self._child: ChildProcess | None = child
        self._attempt = attempt
        self._grace_seconds = grace_seconds
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self._child is None:
            return
        if self._attempt.is_urgent:
            self._cancel_timer()
            self._child.signal(signal.SIGKILL)
            return
        self._child.signal(signal.SIGTERM)
        self._timer = asyncio.get_running_loop().call_later(self._grace_seconds, self._child.signal, signal.SIGKILL)

    def close(self) -> None:
        """Signal nothing any more: the process may soon run another attempt."""
        self._child = None
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


async def _answer(
    child: ChildProcess, attempt: Attempt, request: ChildRequest, listener: ChildListener
) -> ChildAnswer | None:
    """Let a process run an attempt, pass on what it says, and return the answer; None if it has ended without one."""
    with time_limit(attempt) as limit:
        limit.arm()
        child.send(request)
        while True:
            match await child.read():
                case Begun():
                    child.attempts += 1
                case Progress() as progress:
                    listener.report(attempt, progress)
                case ChildCheckpoint(number, text):
                    listener.store_checkpoint(text).add_done_callback(functools.partial(_tell, child, number))
                case answer:
                    return answer if isinstance(answer, ChildAnswer) else None


def _tell(child: ChildProcess, number: int, stored: futures.Future[CheckpointOutcome]) -> None:
    child.send(ChildCheckpointAnswer(number, stored.result()))


async def _outcome_without_answer(child: ChildProcess, attempt: Attempt) -> HandlerOutcome:
    death = await _death(child)
    return death if attempt.stop_reason is None else Stopped()


async def _death(child: ChildProcess) -> Failed:
    text = f"the handler's process ended by {await child.wait_cause()}"
    return Failed(TaskError(code=ErrorCode.PROCESS_DIED, message=text))


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was deleted
        return None
