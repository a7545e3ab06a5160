from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_api import examples
from task_api.bulk_cursors import BEFORE_ALL, PATTERN, BulkCursor
from task_contracts.testing import an_id

PURPOSE = 'CANCEL {"queue":"reports"}'
CURSOR = BulkCursor(an_id(), datetime.now(UTC))


@given(st.uuids(), st.datetimes(timezones=st.just(UTC)), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_cursor_leads_back_to_its_task_and_time(after: UUID, began_at: datetime, purpose: str) -> None:
    text = BulkCursor(after, began_at).encode(purpose)

    assert re.fullmatch(PATTERN, text)
    assert BulkCursor.decode(text, purpose) == BulkCursor(after, began_at)


def test_a_time_of_any_zone_is_the_same_time() -> None:
    elsewhere = CURSOR.began_at.astimezone()

    assert BulkCursor(CURSOR.after, elsewhere).encode(PURPOSE) == CURSOR.encode(PURPOSE)


def test_another_call_or_filter_does_not_take_it() -> None:
    for other in ("", 'RERUN {"queue":"reports"}', 'CANCEL {"queue":"default"}', "CANCEL all"):
        with pytest.raises(ValueError, match="the same filter"):
            BulkCursor.decode(CURSOR.encode(PURPOSE), other)


@pytest.mark.parametrize("place", range(40))
def test_a_cursor_with_another_character_anywhere_is_refused(place: int) -> None:
    text = CURSOR.encode(PURPOSE)
    other = "A" if text[place] != "A" else "B"

    with pytest.raises(ValueError, match="next_cursor"):
        BulkCursor.decode(text[:place] + other + text[place + 1 :], PURPOSE)


@pytest.mark.parametrize("text", ["", "x", "A" * 40, "A" * 41, "A" * 39 + "\n", "A" * 39 + "=", "é" * 40, "\x00" * 40])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="next_cursor"):
        BulkCursor.decode(text, PURPOSE)


@pytest.mark.parametrize("microseconds", [-(1 << 63), (1 << 63) - 1])
def test_a_time_beyond_the_calendar_is_refused_even_with_a_checksum(microseconds: int) -> None:
    content = CURSOR.after.bytes + microseconds.to_bytes(8, "big", signed=True)
    text = urlsafe_b64encode(content + sha256(content + PURPOSE.encode()).digest()[:6]).decode()

    with pytest.raises(ValueError, match="made by hand"):
        BulkCursor.decode(text, PURPOSE)


def test_it_keeps_the_databases_microseconds() -> None:
    precise = BulkCursor(BEFORE_ALL, CURSOR.began_at.replace(microsecond=0) + timedelta(microseconds=1))

    assert BulkCursor.decode(precise.encode(PURPOSE), PURPOSE) == precise


def test_the_documented_one_looks_like_one() -> None:
    assert re.fullmatch(PATTERN, examples.CANCELLED_MANY["next_cursor"])


def test_no_task_stands_before_the_first_position() -> None:
    assert UUID("ffffffff-ffff-ffff-ffff-ffffffffffff") == BEFORE_ALL
