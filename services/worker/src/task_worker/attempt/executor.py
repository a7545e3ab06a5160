"""Runs one attempt, from its claim to its recorded ending: `_attempt` reads from top to bottom.

**Invariants**

- Nothing starts without a valid lease: a claim that is answered too late is released.
- An attempt is recorded or released only after its code has stopped.
- The slot is free once the code has ended; the attempt stays in flight until its ending is recorded. It stays there for
  good where nothing is recorded, since its worker fails.
- Each attempt is an asyncio task that nobody cancels: stopping goes through `Attempt.stop`, to the code alone.
- All code of the user, its validators and exceptions included, runs within the time limit, where the runner of its mode
  runs it. It may raise whatever it likes, SystemExit too: that is a failure of the attempt. An attempt without a
  recorded ending would run again and again.
- A thread or process that cannot be started is the worker's trouble: the task is released, and waits a little. The
  worker claims nothing for a while: it would take tasks from those that can run them.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from task_contracts import Progress, TaskError
from task_contracts.lifecycle import Event
from task_runtime import (
    NO_METER,
    NO_TRACER,
    Meter,
    TracedAttempt,
    Tracer,
    current_log_fields,
    get_logger,
    host_name,
    log_with,
    owned_by,
)
from task_runtime.observers import Observer, Observers
from task_store import AttemptKey, Claim, Ended, Ending, UnreadableJsonError
from task_worker.attempt.checkpoints import Checkpoints, WriteCheckpoint
from task_worker.attempt.ending import decide_ending
from task_worker.attempt.outcome import Failed, HandlerOutcome, NotBegun, Stopped, unreadable_json
from task_worker.attempt.runners.child_messages import ChildRequest
from task_worker.attempt.runners.loop import run_on_loop
from task_worker.attempt.runners.process_pool import ChildListener, ProcessPool
from task_worker.attempt.runners.raised import outcome_of_exception, pass_on_cancel
from task_worker.attempt.runners.thread import run_in_thread
from task_worker.claim.slots import Slots
from task_worker.context import Context, TaskDetails
from task_worker.handlers import ExecutionMode, Handler
from task_worker.lease.in_flight import Attempt, InFlight
from task_worker.lease.lease import Lease
from task_worker.stacks import stack_of
from task_worker.threads import DaemonThreads
from task_worker.timings import AttemptTimings
from task_worker.wait_warnings import WaitWarnings

_log = get_logger(__name__)
_is_enabled_for = logging.getLogger(__name__).isEnabledFor


@dataclass(frozen=True)
class RunDefaults:
    """The limits of an attempt if neither the task nor its handler sets any, the API and its key, and what is logged.

    `logs_all` has a line at INFO for attempts that end well too; else they have one at DEBUG.
    """

    timeout_seconds: float
    max_attempts: int
    api_url: str
    api_key: SecretStr | None = None
    logs_all: bool = False


@dataclass(frozen=True, kw_only=True)
class AttemptServices:
    """The parts of the worker that attempts use.

    `record` writes an ending, `release` gives back a task that is not run, `report` takes progress, and
    `write_checkpoint` writes what an attempt keeps for the next. `processes` run handlers that are marked
    `in_process`; their owner closes them. `observer` is told of begins and ends, `meter` of what should be rare,
    and `tracer` traces each attempt.
    `make_context` makes the context for a handler. `threads` run plain handlers; if left out, there is a thread for
    each slot.
    """

    record: Callable[[Attempt, Ending], Awaitable[Ended | None]]
    release: Callable[[AttemptKey], Coroutine[Any, Any, None]]
    report: Callable[[Attempt, Progress], None]
    write_checkpoint: WriteCheckpoint
    processes: ProcessPool
    timings: AttemptTimings
    observer: Observer = field(default_factory=Observers)
    meter: Meter = NO_METER
    tracer: Tracer = NO_TRACER
    make_context: Callable[..., Context] = Context
    threads: futures.Executor | None = None


class Executor:
    """Runs claimed tasks, each to its recorded ending.

    Args:
        handlers: by type.
        defaults: the limits if neither the task nor its handler sets any.
        services: the parts of the worker that attempts use.
        in_flight, slots, lease: of this worker.

    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        defaults: RunDefaults,
        services: AttemptServices,
        *,
        in_flight: InFlight,
        slots: Slots,
        lease: Lease,
    ) -> None:
        self._handlers = handlers
        self._defaults = defaults
        self._services = services
        self._in_flight = in_flight
        self._slots = slots
        self._lease = lease
        self._threads = services.threads or DaemonThreads("handler", slots.capacity)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wait_warnings = WaitWarnings(lambda: slots.free)
        self.attempts_ended = 0
        """How many attempts have come to the end of their code."""

    def start(self, claim: Claim) -> None:
        """Run a claimed task in the background; it is in flight, and has a slot, when this returns."""
        handler, defaults = self._handlers[claim.type], self._defaults
        attempt = Attempt(
            claim,
            timeout_seconds=claim.timeout_seconds or handler.timeout_seconds or defaults.timeout_seconds,
            max_attempts=claim.max_attempts or handler.max_attempts or defaults.max_attempts,
        )
        self._in_flight.take(attempt)
        self._slots.take(claim.body_bytes)
        self._services.observer.started(attempt.kind, (claim.started_at - claim.due_at).total_seconds())
        if claim.lost_count:
            self._services.meter.second_run()
        self._spawn(self._attempt(attempt, handler))

    def release(self, key: AttemptKey) -> None:
        """Release, in the background, a task that this worker holds and does not run."""
        self._spawn(self._services.release(key))

    async def wait_done(self, seconds: float | None) -> bool:
        """Wait up to `seconds` until all that was started or released is recorded; return whether it is.

        None waits for ever.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        return not self._tasks

    def close(self) -> None:
        """Start no more threads."""
        self._threads.shutdown(wait=False)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, attempt: Attempt, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        log_with(functools.partial(_log_fields, attempt.claim, self._lease.worker_id))
        try:
            outcome = await self._run_traced(attempt, handler)
        except BaseException as error:  # noqa: BLE001 # the outermost frame of an attempt
            pass_on_cancel(error)
            outcome = outcome_of_exception(error)
        finally:
            attempt.is_running = False
            self._slots.code_ended()
            self.attempts_ended += 1
        ending = decide_ending(attempt, outcome, self._services.timings.retry)
        if ending is None:  # it stays in flight, so that no reconciling releases it
            _log.warning("attempt_left_to_sweep", type=handler.type)
            return
        ending_bytes = ending.size_bytes
        self._slots.hold(ending_bytes)
        try:
            ended = await self._services.record(attempt, ending)
            self._log_ending(attempt, ending, ended)
            if ended is not None:
                self._observe_end(attempt, ended.event, loop.time() - began)
        finally:
            self._in_flight.drop(attempt)
            self._slots.recorded(attempt.claim.body_bytes + ending_bytes)

    def _observe_end(self, attempt: Attempt, event: Event, seconds: float) -> None:
        """Tell of an attempt that ended so long after it was claimed, its recording included."""
        claim = attempt.claim
        waited = (claim.started_at - claim.created_at).total_seconds()
        self._services.observer.ended(attempt.kind, event, attempt.run_seconds, waited + seconds)

    def _log_ending(self, attempt: Attempt, ending: Ending, ended: Ended | None) -> None:
        if ended is not None and ending.error is None and not self._logs_good_ends():
            return  # most tasks: a line that is not written should cost little
        wanted, event = str(ending.event), None if ended is None else str(ended.event)
        fields: dict[str, object] = {"type": attempt.claim.type, "seconds": round(attempt.run_seconds, 3)}
        if event != wanted:
            fields["wanted"] = wanted
        # While the lease holds nobody else ends the attempt: then it was an earlier try of ours.
        if ended is None and not (attempt.is_end_unknown and self._lease.is_valid):
            self._services.meter.late_write_refused()
            _log.warning("late_end_refused", **fields)
        elif ending.error is not None:
            _log_failure(ending, ending.error, ended, fields)
        elif self._defaults.logs_all:
            _log.info("attempt_ended", event_recorded=event, **fields)
        else:
            _log.debug("attempt_ended", event_recorded=event, **fields)

    def _logs_good_ends(self) -> bool:
        return self._defaults.logs_all or _is_enabled_for(logging.DEBUG)

    async def _run_traced(self, attempt: Attempt, handler: Handler) -> HandlerOutcome:
        claim = attempt.claim
        traced = TracedAttempt(claim.id, claim.type, claim.queue, claim.attempt, claim.traceparent)
        with self._services.tracer.processing(traced) as span:
            attempt.traceparent = span.traceparent
            outcome = await self._run(attempt, handler)
            if isinstance(outcome, Failed):
                span.failed(outcome.error.code)
            return outcome

    async def _run(self, attempt: Attempt, handler: Handler) -> HandlerOutcome:
        if not self._lease.is_valid or attempt.stop_reason is not None:
            return Stopped()
        claim, context = attempt.claim, None
        try:
            _ = claim.labels, claim.checkpoint  # what cannot be read fails the task, whether it is given or not
            if handler.mode is ExecutionMode.PROCESS:
                running = self._in_process(attempt)
            else:
                context = self._context(attempt) if handler.takes_context else None
                begin = functools.partial(handler.begin, claim.payload, context)
                running = self._in_this_process(handler.mode, begin, attempt)
        except UnreadableJsonError as error:
            return unreadable_json(str(error))
        loop = asyncio.get_running_loop()
        attempt.on_stop(lambda: loop.call_later(self._services.timings.overdue_seconds, _report_overdue, attempt))
        try:
            outcome = await running
            if isinstance(outcome, NotBegun) and (rest := self._slots.not_begun()) is not None:
                fields = {"reason": outcome.reason, "nothing_claimed_for_seconds": rest}
                _log.warning("code_not_begun", type=handler.type, **fields)
            return outcome
        finally:
            if context is not None and context.has_clients:
                with owned_by(attempt):
                    self._spawn(_close(context))  # in the background: it must not change the outcome

    def _in_this_process(
        self, mode: ExecutionMode, begin: Callable[[], Any], attempt: Attempt
    ) -> Coroutine[Any, Any, HandlerOutcome]:
        if mode is ExecutionMode.LOOP:
            return run_on_loop(begin, attempt)
        return run_in_thread(begin, attempt, self._threads)

    def _in_process(self, attempt: Attempt) -> Coroutine[Any, Any, HandlerOutcome]:
        claim = attempt.claim
        _ = claim.payload  # an error now if it cannot be read
        request = ChildRequest(self._details(attempt), claim.payload_text, current_log_fields())
        # Its time begins later: it may have to wait for a process.
        listener = ChildListener(self._services.report, self._checkpoints(attempt).store)
        return self._services.processes.run(attempt, request, listener)

    def _checkpoints(self, attempt: Attempt) -> Checkpoints:
        return Checkpoints(attempt, self._services.write_checkpoint, self._spawn)

    def _context(self, attempt: Attempt) -> Context:
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._services.report, attempt, progress)

        def on_wait() -> None:
            loop.call_soon_threadsafe(self._wait_warnings.handler_waits, attempt.claim.type, attempt.claim.queue)

        return self._services.make_context(
            self._details(attempt),
            report=report,
            store_checkpoint=self._checkpoints(attempt).store,
            is_stopped=lambda: attempt.stop_reason is not None,
            on_wait=on_wait,
        )

    def _details(self, attempt: Attempt) -> TaskDetails:
        claim = attempt.claim
        return TaskDetails(
            id=claim.id,
            name=claim.name,
            type=claim.type,
            queue=claim.queue,
            labels=claim.labels,
            attempt=claim.attempt,
            rerun_count=claim.rerun_count,
            lease_token=claim.lease_token,
            checkpoint_text=claim.checkpoint_text,
            api_url=self._defaults.api_url,
            api_key=self._defaults.api_key,
            traceparent=attempt.traceparent,
        )


def _log_failure(ending: Ending, error: TaskError, ended: Ended | None, fields: dict[str, object]) -> None:
    shown = {
        "event_recorded": None if ended is None else str(ended.event),
        "code": error.code,
        "error": f"{error.type}: {error.message}" if error.type else error.message,
        **({"exception": ending.traceback} if ending.traceback else {}),
        **fields,
    }
    match ending.event if ended is None else ended.event:
        case Event.FAIL:  # somebody should look
            _log.error("attempt_failed", **shown)
        case Event.RETRY:
            after = round(ending.delay.total_seconds(), 1) if ending.delay else 0.0
            _log.warning("attempt_failed", again_in_seconds=after, **shown)
        case _:  # cancelled meanwhile
            _log.warning("attempt_failed", **shown)


def _log_fields(claim: Claim, worker_id: UUID | None) -> dict[str, object]:
    """Return what each line of an attempt says; `worker_id` is None where the worker was found dead just now."""
    return {
        "task_id": str(claim.id),
        "attempt": claim.attempt,
        "worker_id": None if worker_id is None else str(worker_id),
    }


async def _close(context: Context) -> None:
    try:
        await context.aclose()
    except BaseException as error:  # noqa: BLE001 # the code of the user's transports
        pass_on_cancel(error)
        _log.debug("clients_not_closed", reason=type(error).__name__)


def _report_overdue(attempt: Attempt) -> None:
    if not attempt.is_running:
        return
    claim, began_at = attempt.claim, attempt.began_at
    _log.warning(
        "code_overdue",
        task_id=str(claim.id),
        attempt=claim.attempt,
        type=claim.type,
        reason=attempt.stop_reason,
        host=host_name(),
        pid=os.getpid(),
        seconds=None if began_at is None else round(asyncio.get_running_loop().time() - began_at, 3),
        timeout_seconds=attempt.timeout_seconds,
        **({} if attempt.thread_id is None else {"stack": stack_of(attempt.thread_id)}),
    )
