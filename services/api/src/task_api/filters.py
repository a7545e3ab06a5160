"""The filter by which tasks are listed, and by which many are cancelled or rerun: one definition for all calls."""

from __future__ import annotations

import re
from dataclasses import replace
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
    ValidationInfo,
    WithJsonSchema,
)

from task_contracts import Priority, QueueName, TaskStatus, Text, TypeName, check_text, limits
from task_store import TaskFilter

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_LISTED = "In a query: repeated, or separated by commas."
_ANY = f"Any of these. {_LISTED}"
_FINISHED = (
    f"RFC 3339 with an offset. Where more than {limits.FINISHED_IDS_MAX:,} tasks ended within the time, pages may be"
    " short or empty and still have a next one: `created_from` and `created_to` narrow the search."
)
_DIFFERENT_MAX = 20
"""More than there are words for a status or a priority."""
_ID_GROUPS = (limits.ID_PREFIX_DIGITS_MIN, 4, 4, 4, 12)
"""Hex digits of an id, between its hyphens."""
_PARTS_MAX = 1_000
"""Beyond that a list is not split: its rest is one wrong word."""


def _check_rfc3339(value: Any) -> Any:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with an offset, as 2026-11-01T12:00:00Z; in a query a + is written as %2B")
    return value


def _clamp(moment: datetime) -> datetime:
    # No task was created outside these bounds, so the result is the same, and no other code sees the year 1 or 9999.
    return min(max(moment, _EARLIEST), _LATEST)


def _split_commas(values: Any, info: ValidationInfo) -> Any:
    if info.mode == "json" or not values or not isinstance(values, list):  # in JSON a list is one already
        return values
    different = dict.fromkeys(",".join(map(str, values)).split(",", _PARTS_MAX))
    # Where there are more, one of these is wrong; each wrong one costs time, and a query has room for thousands.
    return list(different)[:_DIFFERENT_MAX]


def _split_ids(values: Any, info: ValidationInfo) -> Any:
    if info.mode == "json" or not values or not isinstance(values, list):
        return values
    return ",".join(map(str, values)).split(",", limits.FILTER_IDS_MAX)


def _split_label(value: Any) -> tuple[str, str]:
    key, colon, text = check_text(value).partition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not 1 <= len(key) <= limits.LABEL_KEY_CHARS or len(text) > limits.LABEL_VALUE_CHARS:
        raise ValueError(
            f"must be key:value, with a key of 1 to {limits.LABEL_KEY_CHARS} characters "
            f"and a value of at most {limits.LABEL_VALUE_CHARS}"
        )
    return key, text


def _beginnings_of_ids() -> str:
    """Return the pattern of the beginnings of an id, its first 8 digits at least, with its hyphens or without any."""
    digit, (first, *groups) = "[0-9A-Fa-f]", _ID_GROUPS
    rest = ""
    for length in reversed(groups):
        rest = f"(-({digit}{{0,{length}}}|{digit}{{{length}}}{rest}))?" if rest else f"(-{digit}{{0,{length}}})?"
    return f"^({digit}{{{first}}}{rest}|{digit}{{{first},{first + sum(groups)}}})$"


Ids = Annotated[list[UUID], Field(max_length=limits.FILTER_IDS_MAX), BeforeValidator(_split_ids)]
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
Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
IdPrefix = Annotated[str, Field(pattern=_beginnings_of_ids())]


class EventFilter(BaseModel):
    """Which tasks a stream is about. A task must match the filters of every kind; what is left out filters nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Ids = Field(default_factory=list, description=f"Any of these tasks, up to {limits.FILTER_IDS_MAX}. {_LISTED}")
    status: Statuses = Field(default_factory=list, description=_ANY)
    label: list[Label] = Field(
        default_factory=list,
        max_length=limits.LABELS_MAX,
        description="`key:value`; a task must have all of these. In a query repeated only: a comma is part of a value.",
        examples=[["customer:42"]],
    )
    type: TypeName | None = Field(None, description="The name of a handler.")
    queue: QueueName | None = Field(None, description="The name of a queue.")

    def to_filter(self) -> TaskFilter:
        """Return the filter that the store takes."""
        return TaskFilter(
            ids=tuple(self.id),
            statuses=frozenset(self.status),
            labels=tuple(self.label),
            type=self.type,
            queue=self.queue,
        )


class FilterFields(EventFilter):
    """Which tasks are meant, by all that a list filters."""

    priority: Priorities = Field(default_factory=list, description=_ANY)
    name: Annotated[Text, Field(min_length=1, max_length=limits.NAME_CHARS)] | None = Field(
        None, description="A part of the name, in any case."
    )
    created_from: Moment | None = Field(None, description="Created at this time or later (RFC 3339 with an offset).")
    created_to: Moment | None = Field(None, description="Created before this time (RFC 3339 with an offset).")
    finished_from: Moment | None = Field(None, description=f"Ended at this time or later. {_FINISHED}")
    finished_to: Moment | None = Field(None, description=f"Ended before this time. {_FINISHED}")
    fingerprint: Fingerprint | None = Field(
        None, description="FAILED by this kind of failure, as GET /errors names it.", examples=["4f0c2b9a1d3e5f60"]
    )
    worker: UUID | None = Field(None, description="Run by this worker now.")
    id_prefix: IdPrefix | None = Field(
        None, description="The beginning of the id, 8 hex digits at least.", examples=["019ab5e2-5a"]
    )

    def to_filter(self) -> TaskFilter:
        """Return the filter that the store takes."""
        return replace(
            super().to_filter(),
            priorities=frozenset(self.priority),
            name=self.name,
            created_from=self.created_from,
            created_to=self.created_to,
            finished_from=self.finished_from,
            finished_to=self.finished_to,
            fingerprint=self.fingerprint,
            worker_id=self.worker,
            id_prefix=None if self.id_prefix is None else self.id_prefix.replace("-", "").lower(),
        )
