"""What a caller sends takes linear time to look at, whatever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from task_contracts import TaskCreate, check_json, check_text, retry_after_seconds, storable_text
from task_contracts.testing import assert_linear

FIELDS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("name", "description", "priority", "type", "queue", "run_at", "timeout_seconds"), str),
    "labels": lambda text: {text: text},
    "payload": lambda text: {text: text},
}
"""What a field is given, by its name."""


@pytest.mark.parametrize(
    "look",
    [
        check_text,
        check_json,
        retry_after_seconds,
        lambda text: check_json({text: text}),
        lambda text: storable_text(text, len(text)),
    ],
    ids=["check_text", "check_json", "retry_after_seconds", "a key", "storable_text"],
)
def test_no_text_takes_more_than_linear_time(look: Callable[[str], object]) -> None:
    assert_linear(look)


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_takes_more_than_linear_time(field: str) -> None:
    def create(text: str) -> None:
        given = {"name": "a", field: FIELDS[field](text)}
        TaskCreate.model_validate_json(json.dumps(given))

    assert_linear(create)


def test_work_of_quadratic_time_is_found() -> None:
    with pytest.raises(AssertionError, match="characters of"):
        assert_linear(lambda text: [text[:length].count("a") for length in range(len(text))])
