from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import pytest

from task_contracts import ErrorCode, TaskError
from task_contracts.lifecycle import Event
from task_store import Claim, Ending
from task_worker import Fail, Retry, Snooze
from task_worker.attempt.ending import decide_ending
from task_worker.attempt.outcome import Failed, HandlerOutcome, Returned, Snoozed, Stopped
from task_worker.lease.in_flight import Attempt, StopReason
from task_worker.timings import AttemptTimings

ERROR = TaskError(code="handler_error", message="broken")
MakeClaim = Callable[..., Claim]


def decide(
    claim: Claim, outcome: HandlerOutcome, max_attempts: int = 3, *, stop_reason: StopReason | None = None
) -> Ending:
    """Return how an attempt ends if its code was stopped for this reason, or not stopped."""
    ending = decide_ending(Attempt(claim, 0.5, max_attempts, stop_reason), outcome, AttemptTimings().retry)
    assert ending is not None
    return ending


@pytest.mark.parametrize("outcome", [Stopped(), Failed(ERROR)])
def test_code_that_a_failing_worker_stops_is_left_to_the_sweep(a_claim: MakeClaim, outcome: HandlerOutcome) -> None:
    attempt = Attempt(a_claim(), 0.5, 3, StopReason.WORKER_FAILED)

    assert decide_ending(attempt, outcome, AttemptTimings().retry) is None


def test_code_that_ends_well_although_its_worker_fails_is_recorded(a_claim: MakeClaim) -> None:
    assert decide(a_claim(), Returned(1), stop_reason=StopReason.WORKER_FAILED).event is Event.COMPLETE
    assert decide(a_claim(), Snoozed(1), stop_reason=StopReason.WORKER_FAILED).event is Event.SNOOZE


def test_a_value_completes_even_on_the_last_attempt(a_claim: MakeClaim) -> None:
    claim = a_claim(failures=24)

    ending = decide(claim, Returned('{"n":1}'), max_attempts=1)

    assert (ending.event, ending.result) == (Event.COMPLETE, '{"n":1}')
    assert (ending.id, ending.lease_token) == (claim.id, claim.lease_token)


def test_nothing_returned_is_no_result(a_claim: MakeClaim) -> None:
    ending = decide(a_claim(), Returned(None), max_attempts=3)

    assert (ending.event, ending.result) == (Event.COMPLETE, None)


@pytest.mark.parametrize(
    ("failures", "max_attempts", "event"),
    [(0, 1, Event.FAIL), (0, 2, Event.RETRY), (1, 2, Event.FAIL), (1, 3, Event.RETRY), (5, 3, Event.FAIL)],
)
def test_a_failure_is_retried_while_attempts_are_left(
    a_claim: MakeClaim, failures: int, max_attempts: int, event: Event
) -> None:
    ending = decide(a_claim(failures=failures), Failed(ERROR, "the traceback"), max_attempts)

    assert (ending.event, ending.error, ending.traceback) == (event, ERROR, "the traceback")
    assert timedelta() <= ending.delay <= timedelta(seconds=18)


def test_failures_are_counted_and_not_attempts(a_claim: MakeClaim) -> None:
    ending = decide(a_claim(attempt=40, failures=0), Failed(ERROR), max_attempts=3)

    assert ending.event is Event.RETRY


def test_a_final_failure_is_not_retried(a_claim: MakeClaim) -> None:
    assert decide(a_claim(), Failed(ERROR, is_final=True), max_attempts=25).event is Event.FAIL


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 0), (7.5, 7.5), (-3, 0), (math.inf, 365 * 86_400), (math.nan, 0), (1e12, 365 * 86_400)]
)
def test_the_delay_that_a_handler_asks_for_is_kept_within_bounds(
    a_claim: MakeClaim, asked: float, given: float
) -> None:
    retry = decide(a_claim(), Failed(ERROR, after_seconds=asked), max_attempts=3)
    snooze = decide(a_claim(failures=9), Snoozed(asked), max_attempts=3)

    assert (retry.event, retry.delay.total_seconds()) == (Event.RETRY, given)
    assert (snooze.event, snooze.delay.total_seconds()) == (Event.SNOOZE, given)


def test_a_retry_with_no_attempt_left_fails(a_claim: MakeClaim) -> None:
    assert decide(a_claim(failures=2), Failed(ERROR, after_seconds=5), max_attempts=3).event is Event.FAIL


def test_code_that_was_stopped_is_released_at_once_and_uncounted(a_claim: MakeClaim) -> None:
    ending = decide(a_claim(failures=2), Stopped(), max_attempts=3)

    assert (ending.event, ending.delay, ending.error) == (Event.RELEASE, timedelta(), None)


@pytest.mark.parametrize("outcome", [Returned('"too late"'), Snoozed(1), Failed(ERROR), Stopped()])
def test_out_of_time_is_a_failure_whatever_came_in_the_end(a_claim: MakeClaim, outcome: HandlerOutcome) -> None:
    ending = decide(a_claim(), outcome, stop_reason=StopReason.TIMEOUT)

    assert ending.event is Event.RETRY
    assert ending.error == TaskError(code=ErrorCode.TIMEOUT, message="the handler ran longer than 0.5 s")


@pytest.mark.parametrize("reason", sorted(set(StopReason) - {StopReason.TIMEOUT, StopReason.WORKER_FAILED}))
def test_after_any_other_stop_a_value_or_a_snooze_is_kept_and_a_failure_counts_as_the_stop(
    a_claim: MakeClaim, reason: StopReason
) -> None:
    outcomes = (Returned("1"), Snoozed(7), Failed(ERROR, is_final=True), Stopped())

    endings = [decide(a_claim(), outcome, stop_reason=reason) for outcome in outcomes]

    assert [(one.event, one.result, one.delay.total_seconds(), one.error) for one in endings] == [
        (Event.COMPLETE, "1", 0, None),
        (Event.SNOOZE, None, 7, None),
        (Event.RELEASE, None, 0, None),
        (Event.RELEASE, None, 0, None),
    ]


def test_outcomes_take_what_users_give_them() -> None:
    assert Fail(ValueError("wrong"), code=404).message == "wrong"  # type: ignore[arg-type] # as users do
    assert Retry(after_seconds="5").after_seconds == 5.0  # type: ignore[arg-type] # as users do
    with pytest.raises(TypeError):
        Snooze(after_seconds=timedelta(seconds=5))  # type: ignore[arg-type] # fails in the handler, where its author sees it
