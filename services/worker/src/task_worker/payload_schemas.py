"""The JSON Schema of a payload's type, and whether the type takes payloads that its schema does not describe.

The API refuses a payload that lacks a required field, or has a forbidden one, by the schema alone. Where a validator of
the user's runs before the fields are looked at, or a field has several names, the schema says less than the type takes:
then it is marked (`LENIENT_SCHEMA`), and workers judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from task_contracts import LENIENT_SCHEMA

_AFTER_FIELDS = frozenset({"function-after", "definitions"})
"""What may stand around the fields: it runs once they were found to be there."""
_OF_FIELDS = {"model": "model-fields", "dataclass": "dataclass-args"}


def payload_schema(payload_type: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a type, marked if the type may take what the schema refuses."""
    schema = payload_type.json_schema()
    return schema if _is_exact(payload_type.core_schema) else {**schema, LENIENT_SCHEMA: True}


def _is_exact(core_schema: Any) -> bool:
    """Return whether each field of the type has one name, and nothing of the user's runs before they are looked at."""
    core, by_ref = core_schema, {}
    while core["type"] in _AFTER_FIELDS or core["type"] == "definition-ref":
        if core["type"] == "definitions":
            by_ref = {one["ref"]: one for one in core["definitions"]}
        core = by_ref[core["schema_ref"]] if core["type"] == "definition-ref" else core["schema"]
    config = core.get("config", {})
    if config.get("validate_by_name") or core.get("custom_init") or core.get("root_model"):
        return False
    if core["type"] in _OF_FIELDS:
        fields_type, core = _OF_FIELDS[core["type"]], core["schema"]
        while core["type"] == "function-after":
            core = core["schema"]
        return core["type"] == fields_type and _are_named_once(core["fields"])
    return core["type"] == "typed-dict" and _are_named_once(core["fields"])


def _are_named_once(fields: Any) -> bool:
    each: list[Mapping[str, Any]] = list(fields.values() if isinstance(fields, dict) else fields)
    return all(isinstance(field.get("validation_alias", ""), str) for field in each)
