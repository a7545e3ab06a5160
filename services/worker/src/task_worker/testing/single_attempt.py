"""Runs one attempt on the worker's own executor, without a worker: its ending is noted instead of recorded.

**Invariants**

- A cancel at a percentage is in force before the report that brings it about returns to a plain function, and where an
  async one waits next: a test of it ends the same each time.
- Nothing is waited for without end once it was asked to stop: code that goes on is an error of its test.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from task_contracts import Progress
from task_store import AttemptKey, Claim, Ended, Ending
from task_worker.attempt.executor import AttemptServices, Executor, RunDefaults
from task_worker.attempt.runners.child_process import ChildSetup
from task_worker.claim.slots import Slots
from task_worker.context import Context, TaskDetails
from task_worker.handlers import Handler
from task_worker.lease.in_flight import Attempt, InFlight, StopReason
from task_worker.lease.lease import Lease
from task_worker.settings import WorkerSettings
from task_worker.testing.recording_api import API_URL, RecordingApi
from task_worker.testing.run_context import RunContext
from task_worker.testing.run_outcome import RunOutcome, outcome_of_ending
from task_worker.threads import DaemonThreads
from task_worker.timings import AttemptTimings

_REPORT_SECONDS = 1.0
"""How long a thread waits until its report is taken: a handler may keep the event loop busy."""


class StillRunningError(AssertionError):
    """The handler went on for seconds after it was asked to stop. In a worker it would keep its slot."""


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `run` that are not the task's.

    `is_stop_visible`: whether `context.is_stopped` turns true. `handlers_place`: from where a process of its own loads
    the handler; None for no such process.
    """

    is_stop_visible: bool
    client: object
    handlers_place: str | None
    cancel_after_seconds: float | None
    cancel_at_percent: float | None
    stop_seconds: float

    @property
    def is_cancelled(self) -> bool:
        """Whether a caller cancels the task, sooner or later."""
        return self.cancel_after_seconds is not None or self.cancel_at_percent is not None


class SingleAttempt:
    """One attempt, to be run once, on the event loop that it is made on."""

    def __init__(self, handler: Handler, claim: Claim, options: RunOptions) -> None:
        self._options = options
        self._claim = claim
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._ending: asyncio.Future[Ending] = self._loop.create_future()
        self._timers: list[asyncio.TimerHandle] = []
        self._progress: list[Progress] = []
        self._is_cancel_requested = False
        self._api = RecordingApi()
        self._in_flight = InFlight(claim_seconds=0)
        lease = Lease(1, clock=lambda: 0)  # whose clock stands still: it does not run out
        lease.begin(uuid4(), 0)
        settings = WorkerSettings.model_construct()  # the defaults, whatever the environment says
        self._executor = Executor(
            {handler.type: handler},
            RunDefaults(settings.timeout_seconds, settings.max_attempts, API_URL),
            AttemptServices(
                record=self._note_ending,
                release=self._release_nothing,
                report=self._note_progress,
                child=ChildSetup(options.handlers_place, settings.log_level, settings.log_format),
                timings=AttemptTimings(),
                make_context=self._context,
                threads=DaemonThreads("handler", 1),
            ),
            in_flight=self._in_flight,
            slots=Slots(1),
            lease=lease,
        )

    async def run(self) -> RunOutcome:
        """Run it to its end. If this is cancelled, so is the code.

        Raises:
            StillRunningError: it was asked to stop and did not.

        """
        self._executor.start(self._claim)
        (attempt,) = self._in_flight.attempts()
        attempt.on_stop(lambda: self._later(self._options.stop_seconds, self._give_up, attempt))
        if self._options.cancel_after_seconds is not None:
            self._later(self._options.cancel_after_seconds, self._cancel, attempt)
        try:
            ending = await self._ending
            await self._executor.wait_done(self._options.stop_seconds)  # its clients are being closed
        except asyncio.CancelledError:
            attempt.stop(StopReason.DRAIN)
            await self._executor.wait_done(self._options.stop_seconds)
            raise
        finally:
            for timer in self._timers:
                timer.cancel()
        return outcome_of_ending(
            ending, is_cancel_requested=self._is_cancel_requested, progress=self._progress, created=self._api.created
        )

    def _later(self, seconds: float, call: Callable[[Attempt], None], attempt: Attempt) -> None:
        self._timers.append(self._loop.call_later(seconds, call, attempt))

    def _cancel(self, attempt: Attempt) -> None:
        if not self._ending.done():
            self._is_cancel_requested = True
            attempt.stop(StopReason.CANCEL)

    def _give_up(self, attempt: Attempt) -> None:
        if not self._ending.done():
            self._ending.set_exception(StillRunningError(_still_running_text(attempt, self._options)))

    async def _note_ending(self, attempt: Attempt, ending: Ending) -> Ended:
        if not self._ending.done():
            self._ending.set_result(ending)
        claim = attempt.claim
        return Ended(claim.id, claim.lease_token, ending.event, claim.type, claim.attempt, uuid4(), 0)

    async def _release_nothing(self, key: AttemptKey) -> None:
        raise AssertionError(f"only a claim loop releases, and there is none: {key.id}")

    def _note_progress(self, attempt: Attempt, progress: Progress) -> None:
        self._progress.append(progress)
        at_percent = self._options.cancel_at_percent
        if at_percent is not None and progress.percent >= at_percent:
            self._cancel(attempt)

    def _context(
        self, details: TaskDetails, *, report: Callable[[Progress], None], is_stopped: Callable[[], bool]
    ) -> Context:
        def report_and_wait(progress: Progress) -> None:
            report(progress)
            if threading.get_ident() != self._thread_id:
                taken = threading.Event()
                self._loop.call_soon_threadsafe(taken.set)
                taken.wait(_REPORT_SECONDS)

        return RunContext(
            details,
            report=report_and_wait,
            is_stopped=is_stopped if self._options.is_stop_visible else lambda: False,
            api=self._api,
            given_client=self._options.client,
        )


def _still_running_text(attempt: Attempt, options: RunOptions) -> str:
    what = f"{attempt.claim.type} goes on {options.stop_seconds:g} s after it was asked to stop ({attempt.stop_reason})"
    if not options.is_stop_visible:
        return f"{what}: in a process of its own it would be killed; in_process_from=... gives it one"
    return f"{what}: a plain function must look at context.is_stopped, an async one let its CancelledError pass"
