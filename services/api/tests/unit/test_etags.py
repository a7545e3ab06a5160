from __future__ import annotations

import pytest

from task_api.etags import etag_of, expected_versions, matches


@pytest.mark.parametrize("header", ['W/"7"', '"7"', '"1", W/"7"', "*", ' W/"7" '])
def test_what_the_caller_has_is_recognised(header: str) -> None:
    assert matches(header, etag_of(7))


@pytest.mark.parametrize("header", [None, "", 'W/"8"', "7", 'W/"77"', "**", '"1",'])
def test_anything_else_is_another_version(header: str | None) -> None:
    assert not matches(header, etag_of(7))


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('W/"7"', [7]),
        ('"7"', [7]),
        ('"1", W/"7" ,"9"', [1, 7, 9]),
        ("", []),
        ("7", []),
        ('W/"x"', []),
        ('w/"7"', []),
        ('"-1"', []),
        ('"1", *', [1]),
        ('"2147483647"', [2147483647]),
        ('"2147483648"', []),
        ('"99999999999999999999"', []),
        ('"\u0667"', []),  # a digit, but no ASCII one
    ],
)
def test_versions_that_a_change_expects_are_numbers_that_the_database_can_hold(
    header: str | None, versions: list[int] | None
) -> None:
    assert expected_versions(header) == versions


def test_many_versions_cost_little() -> None:
    assert expected_versions(", ".join(f'"{n}"' for n in range(5_000))) == list(range(5_000))
