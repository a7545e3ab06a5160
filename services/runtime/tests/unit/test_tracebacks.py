from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from task_contracts.testing import assert_linear
from task_runtime import safe_traceback
from task_runtime.redaction import TEXT_CHARS_MAX


class DriverError(Exception):
    """Its text shows the row, as asyncpg's do."""

    def __str__(self) -> str:
        return "violates check\nDETAIL:  Failing row contains (hush)."


def caught_from(function: Callable[[], None]) -> Exception:
    try:
        function()
    except Exception as error:  # noqa: BLE001 # any exception is what the tests are about
        return error
    raise AssertionError("nothing was raised")


def fail_at_the_driver() -> None:
    secret = "hush"
    raise DriverError(secret)


def fail_with_a_cause() -> None:
    try:
        fail_at_the_driver()
    except DriverError as error:
        raise ValueError("cannot write to amqp://u:hush@h") from error


def fail_while_handling() -> None:
    try:
        fail_at_the_driver()
    except DriverError:
        raise ValueError("second")  # noqa: B904 # the context is what is tested


def fail_quietly() -> None:
    try:
        fail_at_the_driver()
    except DriverError:
        raise ValueError("second") from None


def recurse() -> None:
    recurse()


def test_a_traceback_shows_the_chain_without_locals_rows_or_passwords() -> None:
    shown = safe_traceback(caught_from(fail_with_a_cause))

    lines = shown.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "test_tracebacks.DriverError: violates check" in shown
    assert "direct cause" in shown
    assert lines[-1] == "ValueError: cannot write to amqp://u:***@h"
    assert 'raise ValueError("cannot write' in shown
    assert "hush" not in shown


def test_an_exception_met_on_the_way_is_shown_unless_suppressed() -> None:
    assert "During handling" in safe_traceback(caught_from(fail_while_handling))
    assert "DriverError" not in safe_traceback(caught_from(fail_quietly))


def test_every_member_of_a_group_is_shown() -> None:
    first = ValueError("one")
    first.add_note("a note with amqp://u:hush@h")
    shown = safe_traceback(ExceptionGroup("several", [first, ExceptionGroup("deep", [KeyError("two")])]))

    assert shown.splitlines() == [
        "ExceptionGroup: several (2 sub-exceptions)",
        "  +---------------- 1 ----------------",
        "  | ValueError: one",
        "  | a note with amqp://u:***@h",
        "  +---------------- 2 ----------------",
        "  | ExceptionGroup: deep (1 sub-exception)",
        "  |   +---------------- 1 ----------------",
        "  |   | KeyError: 'two'",
    ]


def test_endless_recursion_and_endless_chains_stay_short() -> None:
    looped = ValueError("a")
    looped.__cause__ = KeyError("b")
    looped.__cause__.__cause__ = looped

    assert len(safe_traceback(caught_from(recurse)).splitlines()) < 60
    assert safe_traceback(looped).count("ValueError") == 3
    assert len(safe_traceback(ValueError("x" * 100_000))) < 3_000


def test_a_group_with_thousands_of_members_stays_short() -> None:
    members = [ValueError(f"{number} " + "x" * 1_000) for number in range(5_000)]

    shown = safe_traceback(ExceptionGroup("many", members))

    assert len(shown) <= TEXT_CHARS_MAX


def test_no_message_takes_more_than_linear_time() -> None:
    assert_linear(lambda text: safe_traceback(ValueError(text)))


def test_an_exception_without_a_message_is_its_name() -> None:
    assert safe_traceback(ValueError()) == "ValueError"


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_whose_text_cannot_be_made_is_shown_without_it() -> None:
    shown = safe_traceback(SilentError())

    assert shown.endswith("SilentError: <exception str() failed>")


class HostileNote:
    def __str__(self) -> str:
        raise SystemExit


def test_what_comes_before_a_part_that_cannot_be_shown_is_shown() -> None:
    error = caught_from(fail_with_a_cause)
    error.__notes__ = [HostileNote()]  # type: ignore[list-item]

    shown = safe_traceback(error)

    assert "direct cause" in shown
    assert shown.endswith("ValueError: cannot write to amqp://u:***@h\n<the rest cannot be shown>")


def test_ten_megabytes_of_a_traceback_take_no_more_memory() -> None:
    large = "x\n" * 5_000_000
    error = ValueError(large)
    error.__notes__ = [large] * 10
    error.__cause__ = ExceptionGroup(large, [KeyError(large) for _ in range(10)])

    tracemalloc.start()
    shown = safe_traceback(error)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(shown) <= TEXT_CHARS_MAX
    assert peak < 2 * len(large), "the text of one error at a time"
