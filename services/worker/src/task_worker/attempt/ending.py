"""Decides how an attempt ends: COMPLETE, FAIL, RETRY or SNOOZE and for how long, or RELEASE.

Pure but for the jitter of the back-off. Two things can still change it: an ending that the database refuses becomes a
FAIL (`recorder.py`), and where a cancel was requested, the database turns all but a COMPLETE into CONFIRM_CANCEL.
"""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from task_contracts import BackOff, ErrorCode, TaskError, limits
from task_store import Ending
from task_worker.attempt.outcome import Failed, HandlerOutcome, NotBegun, Returned, Snoozed, Stopped
from task_worker.lease.in_flight import Attempt, StopReason

NOT_BEGUN_SECONDS = 5.0
"""How long a task waits whose code could not be begun. Another worker may have what this one lacks."""


def decide_ending(attempt: Attempt, outcome: HandlerOutcome, retry: BackOff) -> Ending | None:
    """Return how an attempt ends, or None if nothing may be recorded.

    Nothing is recorded for code that was stopped because its worker fails: it may have caused that. The worker counts
    as lost, so the sweep counts a loss of the task.

    A result is a COMPLETE. A failure is a RETRY while the task has, with this one, fewer than `attempt.max_attempts`
    failures; otherwise, or if it is final, it is a FAIL. A snooze is a SNOOZE. Code that was stopped or could not be
    begun is a RELEASE.

    Args:
        attempt: its code has ended; `attempt.stop_reason` says why it was asked to stop, if it was.
        outcome: what the runner reported.
        retry: how long a task waits after a failure if the handler does not say (`AttemptTimings.retry`: a random time
            of up to 2 s after the first failure, three times as much after each further one, at most 10 min).

    """
    claim = attempt.claim
    match _after_stop(attempt, outcome):
        case Returned(result):
            return Ending.complete(claim, result)
        case Failed() as failed:
            return _after_failure(attempt, failed, retry)
        case Snoozed(after_seconds):
            return Ending.snooze(claim, after=_delay(after_seconds))
        case Stopped():
            return None if attempt.stop_reason is StopReason.WORKER_FAILED else Ending.release(claim)
        case NotBegun():
            return Ending.release(claim, after=timedelta(seconds=NOT_BEGUN_SECONDS))
        case unknown:
            assert_never(unknown)


def _after_failure(attempt: Attempt, failed: Failed, retry: BackOff) -> Ending:
    claim, failures = attempt.claim, attempt.claim.failures + 1
    kind = failed.kind(claim.type)
    if failed.is_final or failures >= attempt.max_attempts:
        return Ending.fail(claim, failed.error, traceback=failed.traceback, kind=kind)
    after = _delay(retry.pause_seconds(failures) if failed.after_seconds is None else failed.after_seconds)
    return Ending.retry(claim, failed.error, after=after, traceback=failed.traceback, kind=kind)


def _after_stop(attempt: Attempt, outcome: HandlerOutcome) -> HandlerOutcome:
    """Return which outcome counts, given that the code may have been asked to stop.

    After a timeout it is a failure, even if the code then returned a value. After any other stop a value or a snooze is
    kept, and a failure counts as the stop.
    """
    match attempt.stop_reason:
        case None:
            return outcome
        case StopReason.TIMEOUT:
            message = f"the handler ran longer than {attempt.timeout_seconds:g} s"
            return Failed(TaskError(code=ErrorCode.TIMEOUT, message=message))
        case _:
            return outcome if isinstance(outcome, Returned | Snoozed) else Stopped()


def _delay(seconds: float) -> timedelta:
    """Limit the delay that a handler asks for: from 0 to as far as a `run_at` may be."""
    longest = limits.RUN_AT_HORIZON_DAYS * 86_400
    return timedelta(seconds=min(max(0.0, seconds), longest))
