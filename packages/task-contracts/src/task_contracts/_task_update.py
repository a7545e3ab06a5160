"""The body of PATCH /tasks/{task_id}: another priority or time for a task that waits."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from task_contracts._enums import Priority
from task_contracts._schemas import RunAt


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


def _without_null(schema: dict[str, Any]) -> None:
    """Publish a field that may be left out and may not be null."""
    _without_default(schema)
    schema |= schema.pop("anyOf")[0]


class TaskUpdate(BaseModel):
    """What of a waiting task changes. A field that is left out stays as it is; at least one must be given.

    `model_fields_set` says which were given: `run_at=None` means now, and no `run_at` means the time that it has.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        json_schema_extra={"minProperties": 1, "examples": [{"priority": "HIGH"}, {"run_at": None}]},
    )

    priority: Priority | None = Field(
        default=None, description="If left out, it stays as it is.", json_schema_extra=_without_null
    )
    run_at: RunAt | None = Field(
        default=None,
        description="Not before this time (RFC 3339 with an offset, at most a year ahead); null means now."
        " If left out, it stays as it is.",
        json_schema_extra=_without_default,
    )

    @field_validator("priority")
    @classmethod
    def _check_priority(cls, priority: Priority | None) -> Priority:
        if priority is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return priority

    @model_validator(mode="after")
    def _check_given(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give a priority, a run_at, or both")
        return self
