"""The query of GET /tasks, and a rule for all calls: an unknown or repeated parameter is refused, not ignored."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.requests import Request

from task_api import cursors
from task_api.fields import ERRORS_MAX, field_name
from task_api.filters import FilterFields
from task_api.problems import invalid
from task_contracts import FieldProblem, IdempotencyKey, SortOrder, Text, View, limits
from task_store import TaskFilter

_REPEATABLE = frozenset({"id", "status", "priority", "label"})

Cursor = Annotated[
    UUID,
    BeforeValidator(cursors.decode),
    WithJsonSchema({"type": "string", "pattern": cursors.PATTERN}),
]


class ListQuery(FilterFields):
    """Which tasks a list shows, and how. A task must match the filters of every kind."""

    idempotency_key: IdempotencyKey | None = Field(
        None, description="The `Idempotency-Key` of the request that created the tasks: what became of it?"
    )
    order: SortOrder = Field(
        SortOrder.NEWEST,
        description="By time of creation. With `idempotency_key` the default is `oldest`: the order of the batch.",
    )
    limit: int = Field(
        limits.PAGE_ITEMS_DEFAULT, ge=1, le=limits.PAGE_ITEMS_MAX, description="Tasks on a page, at most."
    )
    cursor: Cursor | None = Field(None, description="The `next_cursor` of the page before.")
    include_total: bool = Field(default=False, description=f"Count the tasks that match, up to {limits.TOTAL_MAX}.")
    view: View = Field(View.SUMMARY, description="`full` shows payloads and results too.")

    def to_filter(self) -> TaskFilter:
        """Return the filter that the store takes."""
        return replace(
            super().to_filter(), idempotency_key=self.idempotency_key, order=self._order(), after=self.cursor
        )

    def _order(self) -> SortOrder:
        is_default = "order" not in self.model_fields_set
        return SortOrder.OLDEST if is_default and self.idempotency_key is not None else self.order


class DemandQuery(BaseModel):
    """How soon the tasks of a queue should begin."""

    model_config = ConfigDict(extra="forbid")

    target_wait_seconds: float = Field(
        60.0, ge=1, le=86_400, allow_inf_nan=False, description="Nobody should wait longer than this."
    )


class PausesQuery(BaseModel):
    """Which pauses are listed."""

    model_config = ConfigDict(extra="forbid")

    include_ended: bool = Field(default=False, description="Also those that were over within two weeks.")


class KeysQuery(BaseModel):
    """Which keys are listed."""

    model_config = ConfigDict(extra="forbid")

    include_revoked: bool = Field(default=False, description="Also those that were revoked or have expired.")


class AuditQuery(BaseModel):
    """Which acts the audit shows. An act must match both filters."""

    model_config = ConfigDict(extra="forbid")

    actor: Annotated[Text, Field(max_length=limits.NAME_CHARS)] | None = Field(
        None, description="Only those of this owner of a key; empty: of whoever acted without keys."
    )
    action: Annotated[Text, Field(max_length=limits.NAME_CHARS)] | None = Field(
        None, description="Only those of this kind.", examples=["tasks.cancel"]
    )
    limit: int = Field(
        limits.PAGE_ITEMS_DEFAULT, ge=1, le=limits.PAGE_ITEMS_MAX, description="Acts on a page, at most."
    )
    cursor: Cursor | None = Field(None, description="The `next_cursor` of the page before.")


def refuse_any(request: Request) -> None:
    """Refuse a query, for a call that takes none.

    Raises:
        ProblemError: there is a parameter.

    """
    _refuse([name for name, _ in request.query_params.multi_items()], "is not a parameter of this call")


async def refuse_repeats(request: Request) -> None:
    """Refuse a parameter that takes one value and is given more than once.

    Raises:
        ProblemError: there is one.

    """
    counts = Counter(name for name, _ in request.query_params.multi_items())
    repeated = [name for name, count in counts.items() if count > 1 and name not in _REPEATABLE]
    _refuse(repeated, "is given more than once")


def _refuse(names: list[str], reason: str) -> None:
    if names:
        errors = [FieldProblem(field=field_name(("query", name)), message=reason) for name in names[:ERRORS_MAX]]
        raise invalid(errors, len(names))
