"""What is wrong with which field: pydantic's errors in the words of a caller, without anything that was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from task_contracts import FieldProblem, UnstorableJsonError, storable_text

ERRORS_MAX = 20
"""Fields that one answer names; a body can be wrong in thousands of places."""

_PART_CHARS = 64
_MESSAGE_CHARS = 300
_DEPTH_MAX = 10


def field_problems(errors: Iterable[Mapping[str, Any]]) -> list[FieldProblem]:
    """Return the first `ERRORS_MAX` of pydantic's errors. The name of a field may be a caller's, so it is cut too."""
    return [_field_problem(error) for error, _ in zip(errors, range(ERRORS_MAX), strict=False)]


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, UnstorableJsonError):
        return FieldProblem(field=field_name((*error["loc"], *cause.path)), message=_clean(cause.reason))
    if error["type"] == "json_invalid":
        # Its location is a number of bytes, or nothing: neither is a field.
        return FieldProblem(field="body", message=_clean(error["msg"]))
    if error["type"] == "missing" and error["loc"] == ("body",):
        # Not "Field required": that reads as if the body lacked a field called body.
        return FieldProblem(field="body", message="nothing was sent; send a JSON object")
    return FieldProblem(field=field_name(error["loc"]), message=_clean(error["msg"].removeprefix("Value error, ")))


def field_name(location: Sequence[str | int]) -> str:
    """Return how a place is written: `body.labels.customer`."""
    # pydantic adds "[key]" where the key of a mapping is wrong: the key itself stands before it.
    parts = [storable_text(str(part), _PART_CHARS) for part in location[:_DEPTH_MAX] if part != "[key]"]
    return ".".join(parts)


def _clean(message: str) -> str:
    return storable_text(message, _MESSAGE_CHARS)
