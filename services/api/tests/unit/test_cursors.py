from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_api import cursors


@given(st.uuids())
def test_a_cursor_leads_back_to_its_id(task_id) -> None:
    assert cursors.decode(cursors.encode(task_id)) == task_id


@given(st.from_regex(cursors.PATTERN.removesuffix("$") + r"\Z"))
def test_every_text_of_the_published_pattern_is_a_cursor(text: str) -> None:
    assert cursors.encode(cursors.decode(text)) == text


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 21 + "B", "A" * 23, "A" * 22 + "\n", "A" * 21 + "=", "é" * 22, "+/" * 11, "\x00" * 22]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="next_cursor"):
        cursors.decode(text)
