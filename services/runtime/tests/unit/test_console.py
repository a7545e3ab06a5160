from __future__ import annotations

from typing import Any

import pytest

from task_runtime import console
from task_runtime.console import VALUE_CHARS_MAX, ConsoleRenderer

BEGIN = {"timestamp": "2026-11-01T12:00:00Z", "level": "info"}


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Any:
    def are(number: int | None) -> None:
        monkeypatch.setattr(console, "columns_of", lambda _: number)

    return are


def rendered(event: str, **fields: object) -> list[str]:
    return ConsoleRenderer()(None, "info", {**BEGIN, "event": event, **fields}).split("\n")


def test_without_a_terminal_an_event_is_one_line_and_its_traceback_is_indented(columns: Any) -> None:
    columns(None)

    lines = rendered("x" * 500, exception="Traceback\n  File\nValueError: a\n10:00:00 [info] forged")

    assert lines[0].endswith("x" * 500)
    assert lines[1:] == ["  Traceback", "    File", "  ValueError: a", "  10:00:00 [info] forged"]


def test_a_field_that_does_not_fit_begins_a_new_line(columns: Any) -> None:
    columns(40)

    lines = rendered("ended", a="1" * 10, b="2" * 20, c="3")

    assert [line[8:] if "[" in line else line for line in lines] == [
        " [info] ended a=1111111111",
        "  b=22222222222222222222 c=3",
    ]


def test_a_field_longer_than_a_line_is_broken_between_words_and_a_word_within_it(columns: Any) -> None:
    columns(30)

    lines = rendered("e", text="one two three four five six seven", word="w" * 60)

    assert lines == [
        f'{lines[0][:8]} [info] e text="one',
        "  two three four five six",
        '  seven"',
        "  word=" + "w" * 23,
        "  " + "w" * 28,
        "  " + "w" * 9,
    ]


def test_no_escape_is_broken(columns: Any) -> None:
    for number in range(30, 40):
        columns(number)

        lines = rendered("\x1b" * 50)

        assert max(map(len, lines)) <= number
        assert sum(line.count("\\u001b") for line in lines) == 50


def test_a_long_value_is_cut(columns: Any) -> None:
    columns(None)

    (line,) = rendered("e", text="y" * (VALUE_CHARS_MAX + 1), items=["z" * 5_000])

    assert line.count("y") == VALUE_CHARS_MAX
    assert line.count("…") == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a", "a"), ("a b", '"a b"'), ("a=b", '"a=b"'), ('"', '"\\""'), ("", '""'), (None, "None"), (1.5, "1.5")],
)
def test_values_are_quoted_where_they_could_be_taken_for_another_field(columns: Any, value: object, shown: str) -> None:
    columns(None)

    assert rendered("e", value=value)[0].endswith(f"e value={shown}")
