from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from task_contracts import retry_after_seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (" 30 ", 30.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("Sun, 01 Nov 2020 12:00:00 GMT", 0.0),
        ("Sun Nov  1 12:00:00 2020", 0.0),
        ("Sun, 99 Nov 2020 12:00:00 GMT", None),
        ("Sun, 01 Nov 2020 12:00:00 +99999999999999", None),
    ],
)
def test_seconds_and_dates_are_read_and_rubbish_is_nothing(header: str, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds


def test_a_date_to_come_is_so_far_away() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert retry_after_seconds(in_a_minute) == pytest.approx(60, abs=30)
