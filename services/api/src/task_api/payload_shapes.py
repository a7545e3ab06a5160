"""What a JSON Schema demands of the top-level fields of a payload: all that is checked before a worker gets the task.

Types and values are the worker's to judge: its validation is lenient ("3" is a number), a schema is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from task_contracts import LENIENT_SCHEMA

_LOCAL = "#/$defs/"


@dataclass(frozen=True, slots=True)
class PayloadShape:
    """The fields that a payload must have, and all that it may have; `allowed` is None where any may be there."""

    required: frozenset[str]
    allowed: frozenset[str] | None

    @classmethod
    def of(cls, schema: Mapping[str, Any] | None) -> PayloadShape | None:
        """Return the shape that a schema describes; None if it demands nothing, or its worker takes more than it says.

        A schema may have been put there by other hands, and be of any form.
        """
        if schema is None or schema.get(LENIENT_SCHEMA):
            return None
        top = _resolved(schema)
        required, properties = top.get("required"), top.get("properties", {})
        shape = cls(
            frozenset(_names(required)),
            frozenset(properties) if _is_closed(top) and isinstance(properties, dict) else None,
        )
        return shape if shape.required or shape.allowed is not None else None

    def fits(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload has no field too few and none too many."""
        fields = payload.keys()
        return self.required <= fields and (self.allowed is None or fields <= self.allowed)

    def missing(self, payload: Mapping[str, Any]) -> list[str]:
        """Return the fields that a payload lacks, sorted."""
        return sorted(self.required - payload.keys())

    def forbidden(self, payload: Mapping[str, Any]) -> list[str]:
        """Return the fields that a payload must not have, in its order."""
        return [] if self.allowed is None else [name for name in payload if name not in self.allowed]


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema says at its top; a type that holds itself stands among its definitions."""
    ref = schema.get("$ref")
    if not isinstance(ref, str) or not ref.startswith(_LOCAL):
        return schema
    definitions = schema.get("$defs")
    named = definitions.get(ref.removeprefix(_LOCAL)) if isinstance(definitions, dict) else None
    return named if isinstance(named, dict) else {}


def _is_closed(top: Mapping[str, Any]) -> bool:
    return top.get("additionalProperties") is False and not top.get("patternProperties")


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
