"""The body of PATCH /tasks/{task_id}, as the API reads it: strictly, from raw bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from task_contracts import Priority, TaskUpdate

SOON = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)


def refused(body: str) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as error:
        TaskUpdate.model_validate_json(body)
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in error.value.errors(include_url=False)]


def test_what_is_left_out_differs_from_null() -> None:
    by_priority = TaskUpdate.model_validate_json('{"priority": "HIGH"}')
    at_once = TaskUpdate.model_validate_json('{"run_at": null}')
    later = TaskUpdate.model_validate_json(f'{{"run_at": "{SOON.isoformat()}"}}')

    assert (by_priority.priority, by_priority.model_fields_set) == (Priority.HIGH, {"priority"})
    assert (at_once.run_at, at_once.model_fields_set) == (None, {"run_at"})
    assert (later.run_at, later.model_fields_set) == (SOON, {"run_at"})


def test_body_that_changes_nothing_is_refused_and_the_answer_says_what_to_give() -> None:
    assert refused("{}") == [("", "Value error, give a priority, a run_at, or both")]


def test_priority_cannot_be_taken_away() -> None:
    assert refused('{"priority": null}') == [
        ("priority", "Value error, must not be null: leave it out to keep it as it is")
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", '"high"'),
        ("priority", "1"),
        ("run_at", "1800000000"),
        ("run_at", '"2026-11-01"'),
        ("run_at", '"9999-12-31T23:59:59-12:00"'),
        ("name", '"x"'),
        ("status", '"CANCELLED"'),
    ],
)
def test_wrong_values_and_other_fields_are_refused(field: str, value: str) -> None:
    assert {place for place, _ in refused(f'{{"{field}": {value}}}')} == {field}


def test_published_schema_says_the_same() -> None:
    schema = TaskUpdate.model_json_schema()

    assert (schema["minProperties"], schema["additionalProperties"]) == (1, False)
    assert "null" not in str(schema["properties"]["priority"])
    assert schema["properties"]["run_at"]["anyOf"][-1] == {"type": "null"}
    assert all("default" not in field for field in schema["properties"].values())
