from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from task_contracts import limits
from task_worker.attempt.outcome import invalid_payload


def error_of(values: int) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[int]).validate_python(["hush"] * values)
    return caught.value


def test_the_first_place_that_does_not_fit_is_named() -> None:
    message = invalid_payload(error_of(limits.FIELD_ERRORS_MAX)).error.message

    assert message.startswith("the payload does not fit: 0: Input should be a valid integer")


def test_of_more_places_than_are_looked_at_only_the_count_is_said() -> None:
    assert invalid_payload(error_of(20_000)).error.message == "the payload does not fit: it has 20000 errors"
