"""The body of the calls that change many tasks: which ones, how many at once, and from where."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from task_api import bulk_cursors
from task_api.filters import FilterFields
from task_contracts import limits
from task_store import TaskFilter

_EITHER = 'give either a filter with at least one condition, or "all": true for every task'


def _strictly(schema: dict[str, Any]) -> None:
    """Publish that at least one condition must be given, and none as null or as an empty list."""
    schema["minProperties"] = 1
    for condition in schema["properties"].values():
        condition.pop("default", None)
        condition |= next((way for way in condition.pop("anyOf", ()) if way != {"type": "null"}), {})
        if condition.get("type") == "array":
            condition["minItems"] = 1


class BulkFilter(FilterFields):
    """Which tasks: the filters of the list, as JSON. A task must match all that are given."""

    model_config = ConfigDict(json_schema_extra=_strictly)

    @field_validator("*")
    @classmethod
    def _check_condition(cls, value: Any) -> Any:
        # Whoever computes a condition, and gets none, would change every task.
        if value is None or value == []:
            raise ValueError("must not be null or empty: leave it out if it filters nothing")
        return value

    @model_validator(mode="after")
    def _check_given(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(_EITHER)
        return self


def _either(schema: dict[str, Any]) -> None:
    """Publish that either a filter or `all` must be given, with examples."""
    chosen = schema["properties"]["filter"]
    chosen |= chosen.pop("anyOf")[0]
    del chosen["default"]
    schema["examples"] = [
        {"filter": {"status": ["FAILED"], "type": "report.build"}, "dry_run": True},
        {"filter": {"queue": "reports", "label": ["customer:42"]}, "limit": 100},
        {"all": True},
    ]
    # Not `oneOf`: generators of clients would make a union of two classes without fields.
    schema["if"] = {"required": ["filter"]}
    schema["then"] = {"properties": {"all": {"const": False}}}
    schema["else"] = {"properties": {"all": {"const": True}}, "required": ["all"]}


class BulkBody(BaseModel):
    """Which tasks a call changes. Either `filter` or `"all": true` must be given."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, json_schema_extra=_either)

    filter: BulkFilter | None = Field(default=None, description="Which tasks.")
    all: bool = Field(default=False, description="In place of a filter: every task.")
    dry_run: bool = Field(default=False, description=f"Count the tasks, up to {limits.TOTAL_MAX}, and change nothing.")
    limit: int = Field(
        default=limits.BULK_ITEMS_MAX, ge=1, le=limits.BULK_ITEMS_MAX, description="Tasks that are changed, at most."
    )
    cursor: str | None = Field(
        default=None,
        pattern=bulk_cursors.PATTERN,
        description="The `next_cursor` of the call before, or the `start_cursor` of a dry run.",
    )

    @field_validator("filter")
    @classmethod
    def _check_filter(cls, value: BulkFilter | None) -> BulkFilter:
        if value is None:
            raise ValueError("must not be null: " + _EITHER)
        return value

    @model_validator(mode="after")
    def _check_either(self) -> Self:
        if self.all is (self.filter is not None):
            raise ValueError(_EITHER)
        return self

    def to_filter(self) -> TaskFilter:
        """Return the filter that the store takes."""
        return self.filter.to_filter() if self.filter else TaskFilter()

    @property
    def sent_filter(self) -> dict[str, Any]:
        """The filter as it was sent, or `all`: for the audit."""
        return self.filter.model_dump(mode="json", exclude_unset=True) if self.filter else {"all": True}

    @property
    def conditions(self) -> str:
        """The filter as one text, the same for each call with it."""
        return self.filter.model_dump_json(exclude_defaults=True) if self.filter else "all"
