from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from task_contracts import ErrorCode, limits
from task_contracts.testing import assert_linear
from task_worker import Fail, Retry, Snooze, TaskCancelled
from task_worker.attempt.outcome import Failed, Snoozed
from task_worker.attempt.runners.raised import outcome_of_exception


def thrown(error: BaseException) -> None:
    secret = "".join(["a local ", "value"])
    if secret:
        raise error


def raised(error: BaseException) -> BaseException:
    try:
        thrown(error)
    except BaseException as caught:  # noqa: BLE001 # whatever it is
        return caught
    raise AssertionError


def test_fail_is_final_and_has_no_traceback() -> None:
    outcome = outcome_of_exception(raised(Fail("no such customer", code="no_customer")))

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.message, outcome.is_final) == ("no_customer", "no such customer", True)
    assert outcome.traceback is None


def no_customer() -> None:
    raise KeyError("no such customer")


def raise_from(error: Exception) -> None:
    try:
        no_customer()
    except KeyError as cause:
        raise error from cause


def raise_while_handling(error: Exception) -> None:
    try:
        no_customer()
    finally:
        raise error


def raise_from_none(error: Exception) -> None:
    try:
        no_customer()
    except KeyError:
        raise error from None


def caught(raising: Callable[[Exception], None], error: Exception) -> Failed:
    try:
        raising(error)
    except Exception as raised:  # noqa: BLE001 # whatever it is
        outcome = outcome_of_exception(raised)
        assert isinstance(outcome, Failed)
        return outcome
    raise AssertionError


class TruthlessError(Exception):
    def __bool__(self) -> bool:
        raise ValueError("no truth")


def raise_from_truthless(error: Exception) -> None:
    raise error from TruthlessError("empty")


SAID = [Fail, Retry]


@pytest.mark.parametrize("raising", [raise_from, raise_while_handling])
@pytest.mark.parametrize("said", SAID)
def test_what_the_handler_says_because_of_an_exception_keeps_its_traceback(
    said: type[Exception], raising: Callable[[Exception], None]
) -> None:
    outcome = caught(raising, said("try another"))

    assert outcome.error.message == "try another"
    assert outcome.traceback is not None
    assert "in no_customer" in outcome.traceback
    assert "KeyError: 'no such customer'" in outcome.traceback
    assert outcome.traceback.endswith(f"{said.__name__}: try another")


@pytest.mark.parametrize("said", SAID)
def test_what_the_handler_says_from_none_has_no_traceback(said: type[Exception]) -> None:
    assert caught(raise_from_none, said("try another")).traceback is None


def test_cause_whose_truth_cannot_be_told_changes_nothing() -> None:
    outcome = caught(raise_from_truthless, Fail("no", code="no_customer"))

    assert (outcome.error.code, outcome.is_final) == ("no_customer", True)
    assert "TruthlessError: empty" in str(outcome.traceback)


def test_retry_carries_its_time_and_code() -> None:
    outcome = outcome_of_exception(raised(Retry(after_seconds=9)))

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.after_seconds, outcome.is_final) == (ErrorCode.RETRY, 9.0, False)


def test_snooze_is_no_failure() -> None:
    assert outcome_of_exception(raised(Snooze(after_seconds=3))) == Snoozed(3.0)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("division by zero"), "division by zero"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
        (TaskCancelled(), "TaskCancelled"),
        (GeneratorExit(), "GeneratorExit"),
        (BaseExceptionGroup("two", [SystemExit(1), ValueError("x")]), "two (2 sub-exceptions)"),
        (ValueError("a\x00b\ud800"), "a�b�"),
    ],
)
def test_anything_else_is_an_error_of_the_handler(error: BaseException, message: str) -> None:
    outcome = outcome_of_exception(raised(error))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == ErrorCode.HANDLER_ERROR
    assert outcome.error.message == message
    assert outcome.error.type == type(error).__name__
    assert outcome.traceback is not None
    assert not outcome.is_final


SECRETS = "cannot reach amqp://u:hush@h:5672 or password='hush'\nDETAIL:  Failing row contains (hush)."


@pytest.mark.parametrize(
    "error", [ConnectionError(SECRETS), Fail(SECRETS), Retry(SECRETS)], ids=lambda e: type(e).__name__
)
def test_secrets_in_a_text_are_left_out_of_the_error_as_of_logs(error: Exception) -> None:
    outcome = outcome_of_exception(raised(error))

    assert isinstance(outcome, Failed)
    assert outcome.error.message == "cannot reach amqp://u:***@h:5672 or password=***"
    assert "hush" not in str(outcome.traceback)


def test_a_secret_that_the_cut_goes_through_is_left_out() -> None:
    text = "x" * (limits.ERROR_MESSAGE_CHARS - 20) + " amqp://u:" + "hush" * 100 + "@h"

    outcome = outcome_of_exception(raised(ValueError(text)))

    assert isinstance(outcome, Failed)
    assert "hush" not in outcome.error.message


def test_an_exception_that_says_nothing_but_secrets_is_named_by_its_class() -> None:
    outcome = outcome_of_exception(raised(ValueError("DETAIL:  Failing row contains (hush).")))

    assert isinstance(outcome, Failed)
    assert outcome.error.message == "ValueError"


def test_the_traceback_shows_where_and_no_values() -> None:
    outcome = outcome_of_exception(raised(ValueError("wrong")))

    assert isinstance(outcome, Failed)
    assert outcome.traceback is not None
    assert "raise error" in outcome.traceback
    assert outcome.traceback.endswith("ValueError: wrong")
    assert "a local value" not in outcome.traceback


def test_long_texts_are_cut() -> None:
    outcome = outcome_of_exception(raised(RuntimeError("é" * 1_000_000)))

    assert isinstance(outcome, Failed)
    assert len(outcome.error.message) == limits.ERROR_MESSAGE_CHARS
    assert outcome.traceback is not None
    assert len(outcome.traceback.encode()) <= limits.TRACEBACK_BYTES


def test_a_deep_chain_of_causes_is_cut() -> None:
    error: BaseException = ValueError("first")
    for number in range(500):
        later = RuntimeError(f"cause {number} " + "x" * 1000)
        later.__cause__ = error
        error = later

    outcome = outcome_of_exception(raised(error))

    assert isinstance(outcome, Failed)
    assert outcome.traceback is not None
    assert len(outcome.traceback.encode()) <= limits.TRACEBACK_BYTES
    assert "cause 499" in outcome.traceback


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


def test_an_exception_whose_text_cannot_be_read_is_named_by_its_class() -> None:
    outcome = outcome_of_exception(raised(UnreadableError()))

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.message) == (ErrorCode.HANDLER_ERROR, "UnreadableError")


@pytest.mark.parametrize("make", [ValueError, lambda text: Fail("no", code=text)], ids=["ValueError", "Fail"])
def test_no_text_of_an_exception_takes_more_than_linear_time(make: Callable[[str], Exception]) -> None:
    assert_linear(lambda text: outcome_of_exception(make(text)))
