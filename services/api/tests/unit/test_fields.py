from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from task_api.fields import ERRORS_MAX, field_problems
from task_contracts import TaskCreate


def problems(body: str | bytes) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        TaskCreate.model_validate_json(body)
    errors: list[Any] = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]
    return {problem.field: problem.message for problem in field_problems(errors)}


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ("{}", "body.name", "Field required"),
        ('{"name": " "}', "body.name", "must not be blank"),
        ('{"name": "a", "prioritty": "HIGH"}', "body.prioritty", "Extra inputs are not permitted"),
        ('{"name": "a", "labels": {"a": 1}}', "body.labels.a", "Input should be a valid string"),
        (
            '{"name": "a", "payload": {"rows": [1, {"price": NaN}]}}',
            "body.payload.rows.1.price",
            "is not a finite number",
        ),
        ('{"name": "a", "payload": {"a": "\\u0000"}}', "body.payload.a", "must not contain the NUL character"),
        ('{"name": "a", "payload": []}', "body.payload", "Input should be an object"),
    ],
)
def test_the_field_is_named_and_the_reason_given(body: str, field: str, message: str) -> None:
    assert problems(body) == {field: message}


def test_what_is_no_json_is_wrong_as_a_body() -> None:
    assert list(problems(b'{"name": "\xff"}')) == ["body"]


def test_the_key_of_a_mapping_is_named_once() -> None:
    assert list(problems('{"name": "a", "labels": {"a:b": "c"}}')) == ["body.labels.a:b"]


def test_a_name_made_up_by_the_caller_comes_back_short_and_fit_to_be_printed() -> None:
    (field,) = problems('{"name": "a", "%s": 1}' % ("\\u0000" + "x" * 10_000))

    assert field.startswith("body.\ufffdxxx")
    assert len(field) < 100


def test_nothing_that_was_sent_is_repeated() -> None:
    assert "hunter2" not in str(problems('{"name": "a", "timeout_seconds": "hunter2", "run_at": "hunter2"}'))


def test_a_body_that_is_wrong_in_thousands_of_places_gets_a_short_answer() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[int]).validate_python(["x"] * 5000)

    assert len(field_problems(caught.value.errors())) == ERRORS_MAX
