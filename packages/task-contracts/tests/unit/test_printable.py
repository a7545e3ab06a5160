from __future__ import annotations

import json
import sys

import pytest

from task_contracts import printable_text
from task_contracts._printable import _ESCAPES
from task_contracts.testing import assert_linear


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 測試, é, 😀", "plain, 測試, é, 😀"),
        ("\x1b[2J\x07", "\\u001b[2J\\u0007"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x7f\x85\x9b31m", "\\u007f\\u0085\\u009b31m"),
        ("\u202egpj.exe\u202c", "\\u202egpj.exe\\u202c"),
        ("\u061c\u200e\u200f\u2028\u2029\u2066\u2069", "\\u061c\\u200e\\u200f\\u2028\\u2029\\u2066\\u2069"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped_as_json_does(text: str, shown: str) -> None:
    assert printable_text(text) == shown
    assert json.loads(f'"{shown}"') == text


def test_all_that_is_escaped_is_escaped_in_any_text() -> None:
    escaped = [chr(code) for code in range(sys.maxunicode + 1) if printable_text("a" + chr(code)) != "a" + chr(code)]

    assert escaped == [chr(code) for code in sorted(_ESCAPES)]


def test_lines_stay_lines_where_they_are_wanted() -> None:
    assert printable_text("one\n\ttwo\r\n", is_multiline=True) == "one\n\\ttwo\\r\n"


def test_no_text_takes_more_than_linear_time() -> None:
    assert_linear(printable_text)
