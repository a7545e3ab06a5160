"""Runs one attempt on the worker's own executor, without a worker: the ending is kept instead of recorded.

**Invariants**

- A cancel at a percentage takes effect at a fixed point: for a plain function before its report returns, for an async
  one at its next await. So its test ends the same way each time.
- Once the code was asked to stop, it is waited for up to `stop_seconds`. Code that still runs then fails its test.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from task_contracts import Progress
from task_store import AttemptKey, Claim, Ended, Ending
from task_worker.attempt.executor import AttemptServices, Executor, RunDefaults
from task_worker.attempt.runners.child_messages import ChildSetup
from task_worker.attempt.runners.process_pool import PoolLimits, ProcessPool
from task_worker.checkpoint_write import CheckpointOutcome, StoreCheckpoint
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
"""How long a thread waits for the event loop, which may be busy, to take its report."""


class StillRunningError(AssertionError):
    """The handler still ran for seconds after it was asked to stop. In a worker it would keep its slot."""


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
        """Whether a caller cancels the task at some time."""
        return self.cancel_after_seconds is not None or self.cancel_at_percent is not None


class SingleAttempt:
    """One attempt. Create it on the event loop that runs it, and run it once."""

    def __init__(self, handler: Handler, claim: Claim, options: RunOptions) -> None:
        self._options = options
        self._claim = claim
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._ending: asyncio.Future[Ending] = self._loop.create_future()
        self._timers: list[asyncio.TimerHandle] = []
        self._progress: list[Progress] = []
        self._checkpoints: list[Any] = []
        self._is_cancel_requested = False
        self._api = RecordingApi()
        self._in_flight = InFlight(claim_seconds=0)
        lease = Lease(1, clock=lambda: 0)  # its clock stands still, so it never runs out
        lease.begin(uuid4(), 0)
        settings = WorkerSettings.model_construct()  # the defaults, whatever the environment says
        setup = ChildSetup(options.handlers_place, settings.log_level, settings.log_format)
        self._processes = ProcessPool(setup, PoolLimits(max_processes=1, max_attempts=1), AttemptTimings())
        self._executor = Executor(
            {handler.type: handler},
            RunDefaults(settings.timeout_seconds, settings.max_attempts, API_URL),
            self._services(settings),
            in_flight=self._in_flight,
            slots=Slots(1, settings.max_payload_mb << 20),
            lease=lease,
        )

    async def run(self) -> RunOutcome:
        """Run the attempt to its end and return its outcome. A cancel of this call stops the code too.

        Raises:
            StillRunningError: the code was asked to stop and did not.

        """
        self._executor.start(self._claim)
        (attempt,) = self._in_flight.attempts()
        attempt.on_stop(lambda: self._later(self._options.stop_seconds, self._give_up, attempt))
        if self._options.cancel_after_seconds is not None:
            self._later(self._options.cancel_after_seconds, self._cancel, attempt)
        try:
            ending = await self._ending
            await self._executor.wait_done(self._options.stop_seconds)  # until its clients are closed
        except asyncio.CancelledError:
            attempt.stop(StopReason.DRAIN)
            await self._executor.wait_done(self._options.stop_seconds)
            raise
        finally:
            for timer in self._timers:
                timer.cancel()
            self._executor.close()
        return outcome_of_ending(
            ending,
            is_cancel_requested=self._is_cancel_requested,
            progress=self._progress,
            checkpoints=self._checkpoints,
            created=self._api.created,
        )

    def _services(self, settings: WorkerSettings) -> AttemptServices:
        return AttemptServices(
            record=self._note_ending,
            release=self._release_nothing,
            report=self._note_progress,
            write_checkpoint=self._note_checkpoint,
            processes=self._processes,
            timings=AttemptTimings(),
            make_context=self._context,
            threads=DaemonThreads("handler", 1),
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
        return Ended(
            id=claim.id,
            lease_token=claim.lease_token,
            event=ending.event,
            type=claim.type,
            attempt=claim.attempt,
            worker_id=uuid4(),
            lost_count=0,
        )

    async def _release_nothing(self, key: AttemptKey) -> None:
        raise AssertionError(f"only the claiming loop releases, and there is none here: {key.id}")

    async def _note_checkpoint(self, attempt: Attempt, text: str | None) -> CheckpointOutcome:
        if not attempt.is_running:
            return CheckpointOutcome.STOPPED
        self._checkpoints.append(None if text is None else orjson.loads(text))
        return CheckpointOutcome.STORED

    def _note_progress(self, attempt: Attempt, progress: Progress) -> None:
        self._progress.append(progress)
        at_percent = self._options.cancel_at_percent
        if at_percent is not None and progress.percent >= at_percent:
            self._cancel(attempt)

    def _context(
        self,
        details: TaskDetails,
        *,
        report: Callable[[Progress], None],
        store_checkpoint: StoreCheckpoint,
        is_stopped: Callable[[], bool],
        on_wait: Callable[[], None],
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
            store_checkpoint=store_checkpoint,
            is_stopped=is_stopped if self._options.is_stop_visible else lambda: False,
            on_wait=on_wait,
            api=self._api,
            given_client=self._options.client,
        )


def _still_running_text(attempt: Attempt, options: RunOptions) -> str:
    reason = f"after it was asked to stop ({attempt.stop_reason})"
    what = f"{attempt.claim.type} still runs {options.stop_seconds:g} s {reason}"
    if not options.is_stop_visible:
        return f"{what}: a worker would kill its process; to test that, add in_process_from=..."
    return f"{what}: a plain function must look at context.is_stopped, an async one must let its CancelledError pass"
