"""Turns pydantic's errors into field problems for the caller. They repeat no value that was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from task_contracts import FieldProblem, UnstorableJsonError, storable_text

ERRORS_MAX = 20
"""The most fields that one answer names; a body can have thousands of errors."""

_PART_CHARS = 64
_MESSAGE_CHARS = 300
_DEPTH_MAX = 10


def field_problems(errors: Iterable[Mapping[str, Any]]) -> list[FieldProblem]:
    """Return the first `ERRORS_MAX` errors. Names of fields are cut too, since a caller may have invented them."""
    return [_field_problem(error) for error, _ in zip(errors, range(ERRORS_MAX), strict=False)]


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, UnstorableJsonError):
        return FieldProblem(field=field_name((*error["loc"], *cause.path)), message=_clean(cause.reason))
    if error["type"] == "json_invalid":
        # Its location is a position in bytes, or empty: no field either way.
        return FieldProblem(field="body", message=_clean(error["msg"]))
    if error["type"] == "missing" and error["loc"] == ("body",):
        # Not "Field required": that reads as if the body lacked a field called body.
        return FieldProblem(field="body", message="nothing was sent; send a JSON object")
    return FieldProblem(field=field_name(error["loc"]), message=_clean(error["msg"].removeprefix("Value error, ")))


def field_name(location: Sequence[str | int]) -> str:
    """Return the name of a location, with dots: `body.labels.customer`. Long names and deep ones are cut."""
    # pydantic adds "[key]" where the key of a mapping is wrong: the key itself stands before it.
    parts = [storable_text(str(part), _PART_CHARS) for part in location[:_DEPTH_MAX] if part != "[key]"]
    return ".".join(parts)


def _clean(message: str) -> str:
    return storable_text(message, _MESSAGE_CHARS)
