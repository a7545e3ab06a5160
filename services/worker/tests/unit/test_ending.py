from __future__ import annotations

import enum
import json
import math
from collections import namedtuple
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, computed_field

from task_contracts import ErrorCode, TaskError, UnstorableJsonError, limits
from task_contracts.lifecycle import Event
from task_store import Claim, Ending
from task_worker import Fail, Retry, Snooze
from task_worker.attempt.ending import decide_ending
from task_worker.attempt.outcome import Failed, HandlerOutcome, Returned, Snoozed, Stopped, result_text
from task_worker.lease.in_flight import Attempt, StopReason
from task_worker.timings import AttemptTimings

ERROR = TaskError(code="handler_error", message="broken")
MakeClaim = Callable[..., Claim]


def decide(
    claim: Claim, outcome: HandlerOutcome, max_attempts: int = 3, *, stop_reason: StopReason | None = None
) -> Ending:
    """Return how an attempt ends if its code was stopped for this reason, or not stopped."""
    return decide_ending(Attempt(claim, 0.5, max_attempts, stop_reason), outcome, AttemptTimings().retry)


def test_a_value_completes_even_on_the_last_attempt(a_claim: MakeClaim) -> None:
    claim = a_claim(failures=24)

    ending = decide(claim, Returned({"n": 1}), max_attempts=1)

    assert (ending.event, ending.result) == (Event.COMPLETE, '{"n":1}')
    assert (ending.id, ending.lease_token) == (claim.id, claim.lease_token)


def test_nothing_returned_is_no_result(a_claim: MakeClaim) -> None:
    ending = decide(a_claim(), Returned(None), max_attempts=3)

    assert (ending.event, ending.result) == (Event.COMPLETE, None)


def test_a_value_that_cannot_be_kept_fails_the_task_with_attempts_left(a_claim: MakeClaim) -> None:
    ending = decide(a_claim(), Returned({"x": math.nan}), max_attempts=25)

    assert ending.event is Event.FAIL
    assert ending.error is not None
    assert ending.error.code == ErrorCode.UNSTORABLE_RESULT
    assert ending.error.message == "the result cannot be stored: x: is not a finite number"


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


@pytest.mark.parametrize("outcome", [Returned("too late"), Snoozed(1), Failed(ERROR), Stopped()])
def test_out_of_time_is_a_failure_whatever_came_in_the_end(a_claim: MakeClaim, outcome: HandlerOutcome) -> None:
    ending = decide(a_claim(), outcome, stop_reason=StopReason.TIMEOUT)

    assert ending.event is Event.RETRY
    assert ending.error == TaskError(code=ErrorCode.TIMEOUT, message="the handler ran longer than 0.5 s")


@pytest.mark.parametrize("reason", sorted(set(StopReason) - {StopReason.TIMEOUT}))
def test_after_any_other_stop_a_value_or_a_snooze_is_kept_and_a_failure_counts_as_the_stop(
    a_claim: MakeClaim, reason: StopReason
) -> None:
    outcomes = (Returned(1), Snoozed(7), Failed(ERROR, is_final=True), Stopped())

    endings = [decide(a_claim(), outcome, stop_reason=reason) for outcome in outcomes]

    assert [(one.event, one.result, one.delay.total_seconds(), one.error) for one in endings] == [
        (Event.COMPLETE, "1", 0, None),
        (Event.SNOOZE, None, 7, None),
        (Event.RELEASE, None, 0, None),
        (Event.RELEASE, None, 0, None),
    ]


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Number(float):
    """Like numpy's float64, which is a float too."""


class Row(BaseModel):
    when: timedelta


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": [1, 2.5, True, None, "é"]}, {"a": [1, 2.5, True, None, "é"]}),
        ((1, (2, 3)), [1, [2, 3]]),
        ([Level.HIGH, Colour.RED, Text("t")], [3, "red", "t"]),
        (Row(when=timedelta(seconds=1)), {"when": "PT1S"}),
        (0, 0),
        ("", ""),
        (False, False),
        (2**63 - 1, 2**63 - 1),
        (-(2**63) + 1, -(2**63) + 1),
    ],
)
def test_what_looks_like_json_is_kept(value: Any, kept: Any) -> None:
    text = result_text(value)

    assert text is not None
    assert json.loads(text) == kept


def cyclic() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


class Node(BaseModel):
    inner: Any = None


def cyclic_model() -> Node:
    node = Node()
    node.inner = node
    return node


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: "a\x00b", id="nul"),
        pytest.param(lambda: {"\x00": 1}, id="nul-key"),
        pytest.param(lambda: math.nan, id="nan"),
        pytest.param(lambda: [math.inf], id="infinity"),
        pytest.param(lambda: [Number(1.5)], id="float-of-a-library"),
        pytest.param(lambda: Point(1, 2), id="named-tuple"),
        pytest.param(lambda: {Colour.RED: 1}, id="enum-key"),
        pytest.param(lambda: "\ud800", id="surrogate"),
        pytest.param(cyclic, id="cyclic"),
        pytest.param(cyclic_model, id="cyclic-model"),
        pytest.param(lambda: "x" * 50_000_000, id="50-mb"),
        pytest.param(lambda: "é" * (limits.RESULT_BYTES // 2), id="just-too-large"),
        pytest.param(lambda: 2**63, id="int-beyond-64-bits"),
        pytest.param(lambda: -(2**63), id="int-below-64-bits"),
        pytest.param(lambda: [0] * 30_000, id="too-many"),
        pytest.param(lambda: {1: 2}, id="int-key"),
        pytest.param(lambda: {1, 2}, id="set"),
        pytest.param(lambda: b"bytes", id="bytes"),
        pytest.param(lambda: object(), id="object"),
        pytest.param(lambda: timedelta(1), id="timedelta"),
        pytest.param(lambda: (n for n in ()), id="generator"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_short_sentence(make: Callable[[], Any]) -> None:
    with pytest.raises(UnstorableJsonError) as caught:
        result_text(make())

    assert len(str(caught.value)) < 300


def test_the_largest_result_is_kept() -> None:
    assert result_text("x" * (limits.RESULT_BYTES - 2)) is not None


def test_outcomes_take_what_users_give_them() -> None:
    assert Fail(ValueError("wrong"), code=404).message == "wrong"  # type: ignore[arg-type] # as users do
    assert Retry(after_seconds="5").after_seconds == 5.0  # type: ignore[arg-type] # as users do
    with pytest.raises(TypeError):
        Snooze(after_seconds=timedelta(seconds=5))  # type: ignore[arg-type] # fails in the handler, where its author sees it


class _Broken(BaseModel):
    @computed_field  # type: ignore[prop-decorator] # as pydantic's documentation has it
    @property
    def size(self) -> int:
        raise KeyError("size")


def test_a_model_whose_own_code_fails_while_it_is_dumped_cannot_be_stored() -> None:
    with pytest.raises(UnstorableJsonError, match="KeyError"):
        result_text(_Broken())
