"""One attempt, from its claim to its recorded end: `_attempt` reads from top to bottom.

**Invariants**

- Nothing starts without a valid lease: an answer that comes too late is released.
- An attempt is recorded or released only after its code has stopped.
- The slot is free once the code has ended; the attempt stays in hand until its end is recorded.
- Each attempt is an asyncio task that nobody cancels: stopping goes through `Attempt.stop`, to the code alone.
- Whatever goes wrong around the code, a thread or process that cannot be begun too, is a failure of the attempt: one
  whose end is not recorded would run again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any, assert_never

import structlog
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars

from task_contracts import ErrorCode, Progress, TaskError, limits, storable_text
from task_store import Claim, Ended, Ending
from task_worker.attempt.ending import decide
from task_worker.attempt.outcome import Failed, HandlerOutcome, Returned, Snoozed, Stopped
from task_worker.attempt.runners.child_process import ChildSetup, run_in_process
from task_worker.attempt.runners.loop import run_on_loop
from task_worker.attempt.runners.raised import outcome_of_exception
from task_worker.attempt.runners.thread import run_in_thread
from task_worker.claim.slots import Slots
from task_worker.context import Context, TaskDetails
from task_worker.handlers import ExecutionMode, Handler
from task_worker.lease.in_flight import Attempt, InFlight, StopReason
from task_worker.lease.lease import Lease

_log = structlog.get_logger(__name__)
_OVERDUE_SECONDS = 5.0
"""After so long without an answer to being stopped, code is reported as one that cannot be."""


@dataclass(frozen=True)
class RunDefaults:
    """What holds where neither the task nor its handler says otherwise."""

    timeout_seconds: float
    max_attempts: int
    api_url: str


@dataclass(frozen=True)
class AttemptServices:
    """What an attempt needs of the worker: to `record` its end, to `report` progress, and how a `child` is set up.

    `context` makes what a handler is told; `threads` run the plain ones, as many as there are slots if left out.
    """

    record: Callable[[Attempt, Ending], Awaitable[Ended | None]]
    report: Callable[[Attempt, Progress], None]
    child: ChildSetup
    context: Callable[..., Context] = Context
    threads: futures.Executor | None = None


class Executor:
    """Runs claimed tasks, each to its recorded end."""

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
        self._threads = services.threads or futures.ThreadPoolExecutor(slots.capacity, "handler")
        self._attempts: set[asyncio.Task[None]] = set()

    def start(self, claim: Claim) -> None:
        """Hold a claimed task, and run it in the background."""
        handler = self._handlers[claim.type]
        timeout = claim.timeout_seconds or handler.timeout_seconds or self._defaults.timeout_seconds
        attempt = Attempt(claim, timeout)
        self._in_flight.take(attempt)
        self._slots.take()
        self.spawn(self._attempt(attempt, handler))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end in the background: `wait_done` waits for it too."""
        task = asyncio.create_task(work)
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    def stop_all(self, reason: StopReason) -> None:
        """Ask all running code to end."""
        for attempt in self._in_flight.running():
            attempt.stop(reason)

    async def wait_done(self, seconds: float) -> bool:
        """Wait up to `seconds` until every attempt has ended and is recorded; say whether that is so."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=seconds)
        return not self._attempts

    def close(self) -> None:
        """Start no thread any more."""
        self._threads.shutdown(wait=False)

    async def _attempt(self, attempt: Attempt, handler: Handler) -> None:
        bind_contextvars(
            task_id=str(attempt.claim.id), attempt=attempt.claim.attempt, worker_id=str(self._lease.worker_id)
        )
        try:
            happened = await self._run(attempt, handler)
        except Exception as error:  # noqa: BLE001 # the outermost frame of an attempt
            happened = outcome_of_exception(error)
        finally:
            attempt.is_running = False
            self._slots.code_ended()
        try:
            ending = decide(attempt.claim, _in_light_of_stop(attempt, happened), self._max_attempts(attempt, handler))
            ended = await self._services.record(attempt, ending)
            _log_end(attempt, ending, ended)
        finally:
            self._in_flight.drop(attempt)
            self._slots.recorded()

    async def _run(self, attempt: Attempt, handler: Handler) -> HandlerOutcome:
        if not self._lease.is_valid or attempt.stop_reason is not None:
            return Stopped()
        context = self._context(attempt)
        try:
            arguments = handler.arguments(attempt.claim.payload, context)
        except ValidationError as error:
            return _invalid_payload(error)
        loop = asyncio.get_running_loop()
        attempt.on_stop(lambda: loop.call_later(_OVERDUE_SECONDS, _report_overdue, attempt))
        timer = loop.call_later(attempt.timeout_seconds, attempt.stop, StopReason.TIMEOUT)
        try:
            return await self._run_in_place(handler, arguments, attempt)
        finally:
            timer.cancel()
            if context.has_clients:
                self.spawn(context.aclose())  # apart: however that goes, the attempt has gone as it went

    async def _run_in_place(self, handler: Handler, arguments: tuple[object, ...], attempt: Attempt) -> HandlerOutcome:
        match handler.mode:
            case ExecutionMode.LOOP:
                return await run_on_loop(handler.function, arguments, attempt)
            case ExecutionMode.THREAD:
                return await run_in_thread(handler.function, arguments, self._threads)
            case ExecutionMode.PROCESS:
                return await run_in_process(attempt, self._facts(attempt), self._services.child, self._services.report)
            case _:
                assert_never(handler.mode)

    def _facts(self, attempt: Attempt) -> TaskDetails:
        claim = attempt.claim
        return TaskDetails(
            claim.id,
            claim.name,
            claim.type,
            claim.queue,
            claim.labels,
            claim.attempt,
            claim.lease_token,
            self._defaults.api_url,
        )

    def _context(self, attempt: Attempt) -> Context:
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._services.report, attempt, progress)

        return self._services.context(
            self._facts(attempt),
            report=report,
            is_stopped=lambda: attempt.stop_reason is not None,
        )

    def _max_attempts(self, attempt: Attempt, handler: Handler) -> int:
        return attempt.claim.max_attempts or handler.max_attempts or self._defaults.max_attempts


def _invalid_payload(error: ValidationError) -> Failed:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "payload"
    reason = first["msg"].removeprefix("Value error, ")
    message = storable_text(f"the payload does not fit: {place}: {reason}", limits.ERROR_MESSAGE_CHARS)
    return Failed(TaskError(code=ErrorCode.INVALID_PAYLOAD, message=message), is_final=True)


def _in_light_of_stop(attempt: Attempt, happened: HandlerOutcome) -> HandlerOutcome:
    """Return what counts of what happened, given that the code may have been stopped.

    Out of time is a failure even where a value came in the end. Stopped for any other reason, a value or a options to
    snooze still counts, and a failure is put down to having been stopped.
    """
    match attempt.stop_reason:
        case None:
            return happened
        case StopReason.TIMEOUT:
            message = f"the handler ran longer than {attempt.timeout_seconds:g} s"
            return Failed(TaskError(code=ErrorCode.TIMEOUT, message=message))
        case _:
            return happened if isinstance(happened, Returned | Snoozed) else Stopped()


def _report_overdue(attempt: Attempt) -> None:
    if attempt.is_running:
        facts = {"task_id": str(attempt.claim.id), "type": attempt.claim.type, "reason": attempt.stop_reason}
        _log.warning("code_overdue", **facts)


def _log_end(attempt: Attempt, ending: Ending, ended: Ended | None) -> None:
    facts = {"type": attempt.claim.type, "wanted": str(ending.event)}
    if ended is None:
        _log.warning("late_end_refused", **facts)
    elif ending.error is not None:
        _log.warning("attempt_failed", event_recorded=str(ended.event), code=ending.error.code, **facts)
    else:
        _log.debug("attempt_ended", event_recorded=str(ended.event), **facts)
