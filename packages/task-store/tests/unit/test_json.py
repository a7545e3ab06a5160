from __future__ import annotations

import pytest

from task_contracts import check_json
from task_store.database import _from_json, _to_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775807", -(2**63) + 1),
        ("9223372036854775808", 9.223372036854775808e18),
        ("-15000000000000000000", -1.5e19),
        ("1" + "0" * 308, 1e308),
        ('{"id": "1234567890123456789", "n": [10000000000000000000, 7, 0.5]}', None),
    ],
)
def test_number_that_int8_cannot_hold_comes_back_as_the_float_it_was(text: str, value: float | None) -> None:
    expected = {"id": "1234567890123456789", "n": [1e19, 7, 0.5]} if value is None else value

    read = _from_json(text)

    assert read == expected
    assert type(read) is type(expected)
    assert check_json(read) == read


def test_json_is_written_without_spaces_and_as_it_is() -> None:
    assert _to_json({"é": [1, None, 0.5]}) == '{"é":[1,null,0.5]}'
