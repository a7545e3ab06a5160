"""Writing the ends of attempts and their progress: again and again until the database has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from task_contracts import Progress, TaskStatus
from task_contracts.lifecycle import LIFECYCLE
from task_store import AttemptKey, Attempts, Ended, Ending, StoreError, UnstorableValuesError
from task_worker.attempt.outcome import unstorable
from task_worker.lease.in_flight import Attempt

_log = structlog.get_logger(__name__)
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_PROGRESS_PAUSE_SECONDS = 0.25


class Recorder:
    """Owes the database what became of the attempts of this worker."""

    def __init__(self, attempts: Attempts, ring: Callable[[], None]) -> None:
        """`ring` is called when a task is waiting again."""
        self._attempts = attempts
        self._ring = ring
        self._progress: dict[Attempt, Progress] = {}
        self._reported = asyncio.Event()
        self._being_written: dict[Attempt, Progress] = {}
        self._written = asyncio.Event()

    async def record(self, attempt: Attempt, ending: Ending) -> Ended | None:
        """Write how an attempt ended, and before that its last progress. None: it is no longer this worker's.

        Goes on while the database is away, until the attempt is dropped. What the database refuses becomes a failure.
        """
        await self._write_last_progress(attempt)
        pause = _FIRST_PAUSE_SECONDS
        while not attempt.is_dropped:
            try:
                ended = await self._attempts.record(ending)
            except UnstorableValuesError as error:
                _log.error("ending_refused", sqlstate=error.sqlstate, constraint=error.constraint)  # no row, no payload
                ending = Ending.fail(attempt.claim, unstorable("the database refuses it"))
            except StoreError as error:
                _log.warning("recording_delayed", reason=str(error), again_in_seconds=pause)
            else:
                if ended is not None and LIFECYCLE[ended.event].target is TaskStatus.PENDING:
                    self._ring()
                return ended
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return None

    async def release(self, key: AttemptKey) -> None:
        """Give back a task that is ours and that nobody here runs. What fails is left to the next read-back."""
        try:
            ended = await self._attempts.record(Ending.release(key))
        except StoreError as error:
            _log.warning("release_delayed", reason=str(error), task_id=str(key.id))
            return
        if ended is not None:
            _log.warning("unheld_task_released", task_id=str(key.id))
            self._ring()

    def report(self, attempt: Attempt, progress: Progress) -> None:
        """Have progress written soon; the latest counts."""
        if attempt.is_running:
            self._progress[attempt] = progress
            self._reported.set()

    async def write_progress(self) -> None:
        """Write what is reported, for ever: all of it at once, a few times a second. What fails is not repeated."""
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
            await asyncio.sleep(_PROGRESS_PAUSE_SECONDS)

    async def _write_last_progress(self, attempt: Attempt) -> None:
        while attempt in self._being_written:  # what comes after the end would change nothing, and be lost
            await self._written.wait()
        if (progress := self._progress.pop(attempt, None)) is not None:
            await self._write(attempt, progress)

    async def _write(self, attempt: Attempt, progress: Progress) -> None:
        try:
            await self._attempts.report_progress(attempt.claim.id, attempt.claim.lease_token, progress)
        except StoreError as error:
            _log.warning("progress_lost", reason=str(error), task_id=str(attempt.claim.id))
