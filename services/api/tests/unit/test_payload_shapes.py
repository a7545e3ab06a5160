"""What a JSON Schema demands of the top-level fields of a payload, and what is left to the worker."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from task_api.payload_shapes import PayloadShape

CLOSED = {
    "type": "object",
    "properties": {"month": {"type": "string"}, "year": {"type": "integer"}},
    "required": ["month"],
    "additionalProperties": False,
}
RECURSIVE = {"$ref": "#/$defs/Node", "$defs": {"Node": CLOSED}}


@pytest.mark.parametrize("schema", [CLOSED, RECURSIVE])
def test_payload_needs_the_required_fields_and_no_others_where_none_may_be_added(schema: dict[str, Any]) -> None:
    shape = PayloadShape.of(schema)

    assert shape is not None
    assert shape.fits({"month": "May"})
    assert shape.fits({"month": 7, "year": None}), "what stands in a field is the worker's to judge"
    assert not shape.fits({"year": 2026})
    assert not shape.fits({"month": "May", "day": 1})
    assert (shape.missing({}), shape.forbidden({"b": 1, "a": 2, "year": 3})) == (["month"], ["b", "a"])


def test_other_fields_may_be_added_unless_the_schema_forbids_them() -> None:
    shape = PayloadShape.of({"properties": {"month": {}}, "required": ["month"]})

    assert shape is not None
    assert shape.fits({"month": 1, "day": 2})
    assert shape.forbidden({"day": 2}) == []


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object", "properties": {"month": {}}},
        {**CLOSED, "x-lenient": True},
        {**RECURSIVE, "x-lenient": True},
        {"anyOf": [CLOSED, CLOSED]},
        {"$ref": "#/$defs/Lost"},
        {"$ref": "https://example.com/schema", **CLOSED, "required": [], "additionalProperties": True},
        {"$ref": "#/$defs/Node", "$defs": ["Node"]},
        {"$ref": 7, "required": "month", "additionalProperties": 0, "properties": []},
        {"required": [1, None], "properties": {}, "additionalProperties": {}},
        {"properties": {}, "additionalProperties": False, "patternProperties": {"^x-": {}}},
    ],
)
def test_schema_that_demands_no_field_by_itself_leaves_everything_to_the_worker(schema: Any) -> None:
    assert PayloadShape.of(schema) is None


def test_payload_of_thousands_of_fields_is_looked_at_in_no_time() -> None:
    shape = PayloadShape.of(CLOSED)
    payload = {"month": 1, **{f"field{n}": n for n in range(20_000)}}
    assert shape is not None

    start = perf_counter()
    assert not shape.fits(payload)
    assert len(shape.forbidden(payload)) == 20_000
    assert perf_counter() - start < 0.5
