"""The query of GET /tasks, and a rule for all calls: an unknown or repeated parameter is refused, not ignored."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from starlette.requests import Request

from task_api import cursors
from task_api.fields import ERRORS_MAX, field_name
from task_api.problems import invalid
from task_contracts import (
    FieldProblem,
    Priority,
    QueueName,
    SortOrder,
    TaskStatus,
    Text,
    TypeName,
    View,
    check_text,
    limits,
)
from task_store import TaskFilter

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_ANY = "Any of these: repeated (`NEW` and once more `PENDING`), or separated by commas."
_DIFFERENT_MAX = 20
"""More than there are words for a status or a priority."""
_PARTS_MAX = 1_000
"""Beyond that a list is not split: its rest is one wrong word."""
_REPEATABLE = frozenset({"status", "priority", "label"})


def _check_rfc3339(value: Any) -> Any:
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with an offset, as 2026-11-01T12:00:00Z or 2026-11-01T14:00:00%2B02:00")
    return value


def _clamp(moment: datetime) -> datetime:
    # No task was created outside these bounds, so the result is the same, and no other code sees the year 1 or 9999.
    return min(max(moment, _EARLIEST), _LATEST)


def _split_commas(values: Any) -> Any:
    if not isinstance(values, list):
        return values
    different = dict.fromkeys(",".join(map(str, values)).split(",", _PARTS_MAX))
    # Where there are more, one of these is wrong; each wrong one costs time, and a query has room for thousands.
    return list(different)[:_DIFFERENT_MAX]


def _split_label(value: Any) -> tuple[str, str]:
    key, colon, text = check_text(str(value)).partition(":")
    if not colon or not 1 <= len(key) <= limits.LABEL_KEY_CHARS or len(text) > limits.LABEL_VALUE_CHARS:
        raise ValueError(
            f"must be key:value, with a key of 1 to {limits.LABEL_KEY_CHARS} characters "
            f"and a value of at most {limits.LABEL_VALUE_CHARS}"
        )
    return key, text


Statuses = Annotated[list[TaskStatus], BeforeValidator(_split_commas)]
Priorities = Annotated[list[Priority], BeforeValidator(_split_commas)]
Moment = Annotated[AwareDatetime, BeforeValidator(_check_rfc3339), AfterValidator(_clamp)]
Label = Annotated[
    tuple[str, str],
    BeforeValidator(_split_label),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^[^:\u0000]{{1,{limits.LABEL_KEY_CHARS}}}:[^\u0000]{{0,{limits.LABEL_VALUE_CHARS}}}$",
        }
    ),
]
Cursor = Annotated[
    UUID,
    BeforeValidator(cursors.decode),
    WithJsonSchema({"type": "string", "pattern": cursors.PATTERN}),
]


class ListQuery(BaseModel):
    """Which tasks a list shows, and how. A task must match the filters of every kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Statuses = Field(default_factory=list, description=_ANY)
    priority: Priorities = Field(default_factory=list, description=_ANY)
    label: list[Label] = Field(
        default_factory=list,
        max_length=limits.LABELS_MAX,
        description="`key:value`; a task must have all of these. Repeated only: a comma is a part of the value.",
        examples=[["customer:42"]],
    )
    type: TypeName | None = Field(None, description="The name of a handler.")
    queue: QueueName | None = Field(None, description="The name of a queue.")
    name: Annotated[Text, Field(min_length=1, max_length=limits.NAME_CHARS)] | None = Field(
        None, description="A part of the name, in any case."
    )
    created_from: Moment | None = Field(None, description="Created at this time or later (RFC 3339 with an offset).")
    created_to: Moment | None = Field(None, description="Created before this time (RFC 3339 with an offset).")
    order: SortOrder = Field(SortOrder.NEWEST, description="By time of creation.")
    limit: int = Field(
        limits.PAGE_ITEMS_DEFAULT, ge=1, le=limits.PAGE_ITEMS_MAX, description="Tasks on a page, at most."
    )
    cursor: Cursor | None = Field(None, description="The `next_cursor` of the page before.")
    include_total: bool = Field(default=False, description=f"Count the tasks that match, up to {limits.TOTAL_MAX}.")
    view: View = Field(View.SUMMARY, description="`full` shows payloads and results too.")

    def to_filter(self) -> TaskFilter:
        """Return the filter that the store takes."""
        return TaskFilter(
            statuses=frozenset(self.status),
            priorities=frozenset(self.priority),
            labels=tuple(self.label),
            type=self.type,
            queue=self.queue,
            name=self.name,
            created_from=self.created_from,
            created_to=self.created_to,
            order=self.order,
            after=self.cursor,
        )


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
