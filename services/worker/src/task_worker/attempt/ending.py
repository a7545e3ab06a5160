"""How an attempt ends, by what happened. Pure: decides, and does nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from task_contracts import UnstorableJsonError, limits
from task_store import Claim, Ending
from task_worker.attempt.outcome import Failed, HandlerOutcome, Returned, Snoozed, Stopped, result_text, unstorable
from task_worker.backoff import backoff


def decide(claim: Claim, happened: HandlerOutcome, max_attempts: int) -> Ending:
    """Return how an attempt ends. `max_attempts` is the task's own, the handler's or the setting, in that order."""
    match happened:
        case Returned(value):
            try:
                return Ending.complete(claim, result_text(value))
            except UnstorableJsonError as error:
                return Ending.fail(claim, unstorable(str(error)))
        case Failed(error, traceback, is_final, after_seconds):
            failures = claim.failures + 1
            if is_final or failures >= max_attempts:
                return Ending.fail(claim, error, traceback=traceback)
            after = backoff(failures) if after_seconds is None else _pause(after_seconds)
            return Ending.retry(claim, error, after=after, traceback=traceback)
        case Snoozed(after_seconds):
            return Ending.release(claim, after=_pause(after_seconds))
        case Stopped():
            return Ending.release(claim)
        case _:
            assert_never(happened)


def _pause(seconds: float) -> timedelta:
    """Keep a handler's options within what may be asked of run_at."""
    longest = limits.RUN_AT_HORIZON_DAYS * 86_400
    return timedelta(seconds=min(max(0.0, seconds), longest))
