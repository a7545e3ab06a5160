"""Writes outcomes, checkpoints and progress, retrying until the database has stored outcomes and checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from task_contracts import FailureKind, Progress, TaskStatus
from task_contracts.lifecycle import LIFECYCLE, Event
from task_runtime import NO_METER, Meter, get_logger
from task_store import AttemptKey, Attempts, Ended, Ending, StatementEndedError, StoreError, UnstorableValuesError
from task_worker.attempt.result import unstorable
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.failure_counts import CountFailure, count_nothing
from task_worker.lease.in_flight import Attempt, StopReason
from task_worker.timings import RecordTimings

_log = get_logger(__name__)
_FAILURES = frozenset({Event.RETRY, Event.FAIL})


class Recorder:
    """Writes for the attempts of one worker.

    Args:
        attempts: the statements.
        timings: the pauses between tries.
        on_waiting: called when a task waits again, so that the leader can be woken.
        meter: told of checkpoints and progress of attempts that had lost their task.
        on_failure: is told of each failed attempt once its ending is stored. One whose answer was lost may be told too
            often: where the task was no longer this worker's.

    """

    def __init__(
        self,
        attempts: Attempts,
        timings: RecordTimings,
        *,
        on_waiting: Callable[[], None],
        on_failure: CountFailure = count_nothing,
        meter: Meter = NO_METER,
    ) -> None:
        self._attempts = attempts
        self._timings = timings
        self._on_waiting = on_waiting
        self._meter = meter
        self._on_failure = on_failure
        self._progress: dict[Attempt, Progress] = {}
        self._reported = asyncio.Event()
        self._being_written: dict[Attempt, Progress] = {}
        self._written = asyncio.Event()

    async def record(self, attempt: Attempt, ending: Ending) -> Ended | None:
        """Write how an attempt ended, after its last progress. Return None if the task is no longer this worker's.

        None too where an earlier try has stored it and only its answer was lost: then `attempt.is_end_unknown`.

        Repeats while the database does not answer, until the attempt is dropped; alone, beside the other endings, once
        the server has ended a statement over this one alone. If the database refuses the ending, the task FAILs
        instead.
        """
        await self._write_last_progress(attempt)
        tries, alone = 0, False
        while not attempt.is_dropped:
            tries += 1
            try:
                ended = await self._attempts.record(ending, alone=alone)
            except UnstorableValuesError as error:
                _log.error("ending_refused", sqlstate=error.sqlstate, constraint=error.constraint)  # no row, no payload
                ending, pause = _refused(attempt), self._timings.retry.pause_seconds(tries)
            except StoreError as error:
                attempt.is_end_unknown = True
                alone = alone or isinstance(error, StatementEndedError)
                pause = self._timings.retry.pause_seconds(tries)
                _log.warning("recording_delayed", reason=str(error), again_in_seconds=pause)
            else:
                if ended is not None or attempt.is_end_unknown:
                    self._stored(ending, ending.event if ended is None else ended.event)
                return ended
            await asyncio.sleep(pause)
        return None

    def _stored(self, ending: Ending, event: Event) -> None:
        if event in _FAILURES and ending.kind is not None and ending.error is not None:
            self._on_failure(ending.kind, ending.error.message, ending.id)
        if LIFECYCLE[event].target is TaskStatus.PENDING:
            self._on_waiting()

    async def release(self, key: AttemptKey) -> None:
        """Release a task that this worker holds and does not run. If this fails, the next reconciling repeats it."""
        try:
            ended = await self._attempts.record(Ending.release(key))
        except StoreError as error:
            _log.warning("release_delayed", reason=str(error), task_id=str(key.id))
            return
        if ended is not None:
            _log.warning("unheld_task_released", task_id=str(key.id))
            self._on_waiting()

    async def write_checkpoint(self, attempt: Attempt, text: str | None) -> CheckpointOutcome:
        """Write what an attempt keeps, and return once it is stored; None keeps nothing.

        Repeats while the database does not answer, until the attempt is stopped. After a stop it is tried once, and
        not at all after an urgent one, or once the code has ended. If the task is no longer this worker's, the attempt
        is stopped.
        """
        tries, alone = 0, False
        while attempt.is_running and not attempt.is_urgent and (tries == 0 or attempt.stop_reason is None):
            tries += 1
            pause = self._timings.retry.pause_seconds(tries)
            try:
                is_held = await self._attempts.store_checkpoint(attempt.claim, text, alone=alone)
            except UnstorableValuesError as error:
                _log.error("checkpoint_refused", sqlstate=error.sqlstate, constraint=error.constraint)
                return CheckpointOutcome.REFUSED
            except StoreError as error:
                alone = alone or isinstance(error, StatementEndedError)
                _log.warning("checkpoint_delayed", reason=str(error), again_in_seconds=pause)
            else:
                if is_held:
                    return CheckpointOutcome.STORED
                self._meter.late_write_refused()
                attempt.stop(StopReason.NOT_HELD)
                break
            await asyncio.sleep(pause)
        return CheckpointOutcome.STOPPED

    def report(self, attempt: Attempt, progress: Progress) -> None:
        """Note progress, which `write_progress` writes soon; of several reports only the latest is written."""
        if attempt.is_running:
            self._progress[attempt] = progress
            self._reported.set()

    async def write_progress(self) -> None:
        """Write reported progress for ever: all of it at once, a few times a second. A failed write is not repeated."""
        while True:
            await self._reported.wait()
            self._reported.clear()
            self._being_written, self._progress = self._progress, {}
            self._written.clear()
            try:
                writes = [self._write(attempt, progress) for attempt, progress in self._being_written.items()]
                await asyncio.gather(*writes)
            finally:
                self._being_written = {}
                self._written.set()
            await asyncio.sleep(self._timings.progress_seconds)

    async def _write_last_progress(self, attempt: Attempt) -> None:
        while attempt in self._being_written:  # a write after the ending would change nothing
            await self._written.wait()
        if (progress := self._progress.pop(attempt, None)) is not None:
            await self._write(attempt, progress)

    async def _write(self, attempt: Attempt, progress: Progress) -> None:
        try:
            if not await self._attempts.report_progress(attempt.claim.id, attempt.claim.lease_token, progress):
                self._meter.late_write_refused()
        except StoreError as error:
            _log.warning("progress_lost", reason=str(error), task_id=str(attempt.claim.id))


def _refused(attempt: Attempt) -> Ending:
    """Return the ending of an attempt whose own ending the database refuses."""
    error = unstorable("the database refuses it")
    return Ending.fail(attempt.claim, error, kind=FailureKind(attempt.claim.type, error.code))
