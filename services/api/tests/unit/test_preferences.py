from __future__ import annotations

import pytest

from task_api.preferences import applied, wait_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (None, None),
        ([], None),
        (["wait=10"], 10),
        (["WAIT=10"], 10),
        (["Wait = 10"], 10),
        (['wait="10"'], 10),
        (["wait=10; hurry=1"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (['foo="a, wait=5", wait=10'], 10),
        (["wait=10, wait=20"], 10),
        (["wait=x, wait=20"], None),
        (["wait=0"], 0),
        (["wait=007"], 7),
        (["wait=60"], 60),
        (["wait=61"], 60),
        (["wait=" + "9" * 60_000], 60),
        (["wait=" + "0" * 60_000 + "5"], 5),
        (["wait"], None),
        (["wait="], None),
        (["wait=-1"], None),
        (["wait=+1"], None),
        (["wait=1.5"], None),
        (["wait=1_0"], None),
        (['wait="10'], None),
        (["wait=\u0661"], None),
        (["waiting=10"], None),
        (["," * 60_000], None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_first_wait_counts_if_it_is_a_number_of_seconds(headers: list[str] | None, seconds: int | None) -> None:
    assert wait_seconds(headers) == seconds


def test_what_was_heeded_is_said() -> None:
    assert applied(7) == {"Preference-Applied": "wait=7"}
    assert applied(None) == {}
