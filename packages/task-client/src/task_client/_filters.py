"""The filters of lists, streams and calls over many tasks, in a query and in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from task_client._call import Params
from task_contracts import JsonValue, Priority, SortOrder, TaskStatus

_REPEATED = frozenset({"id", "status", "priority", "label"})
"""What may be given more than once: in JSON, a list."""


class EventFilters(TypedDict, total=False):
    """Filters of a stream over many tasks. A task must meet all that are given."""

    id: UUID | str | Iterable[UUID | str]
    """This task, or any of these; up to 1,000."""
    status: TaskStatus | Iterable[TaskStatus]
    """This one, or any of these."""
    labels: Mapping[str, str]
    """All of these."""
    type: str
    queue: str


class BulkFilters(EventFilters, total=False):
    """Filters of a call over many tasks. A task must meet all that are given."""

    priority: Priority | Iterable[Priority]
    """This one, or any of these."""
    name: str
    """A part of the name, in upper or lower case."""
    created_from: datetime
    """Created at this time or later; with an offset."""
    created_to: datetime
    """Created before this time; with an offset."""
    finished_from: datetime
    """Ended at this time or later; with an offset."""
    finished_to: datetime
    """Ended before this time; with an offset."""
    fingerprint: str
    """FAILED by this kind of failure."""
    worker: UUID | str
    """Run by this worker now."""
    id_prefix: str
    """The beginning of the id, 8 hex digits at least."""


class TaskFilters(BulkFilters, total=False):
    """Filters of a list. A task must meet all that are given."""

    idempotency_key: str
    """Created with this key: what became of a create without an answer; of a batch, its tasks in order."""
    order: SortOrder
    """By time of creation; the newest first if left out."""
    limit: int
    """Tasks on a page, 1 to 200; 50 if left out."""


def given(**filters: object) -> dict[str, object]:
    """Return the filters that are not None."""
    return {name: value for name, value in filters.items() if value is not None}


def as_params(filters: Mapping[str, object]) -> Params:
    """Return filters as the query of a request.

    Raises:
        ValueError: a filter is None or "any of" nothing, which would not filter: it is to be left out, or is a mistake.

    """
    return tuple(pair for name, value in filters.items() for pair in _pairs(name, value))


def as_json(filters: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return filters as a JSON object: of what may repeat, a list; empty labels stay, for the service to refuse.

    Raises:
        ValueError: as `as_params`.

    """
    found: dict[str, JsonValue] = {}
    for name, value in filters.items():
        key = "label" if name == "labels" else name
        texts = [text for _, text in _pairs(name, value)]
        found[key] = [*texts] if key in _REPEATED else texts[0]
    return found


def _pairs(name: str, value: object) -> list[tuple[str, str]]:
    match value:
        case None:
            raise ValueError(f"{name} is None: leave it out if it filters nothing")
        case datetime():
            return [(name, value.isoformat())]
        case Mapping():
            return [("label", f"{key}:{text}") for key, text in value.items()]
        case Iterable() if not isinstance(value, str):
            if pairs := [(name, str(one)) for one in value]:
                return pairs
            raise ValueError(f"{name} is empty: leave it out if it filters nothing")
        case _:
            return [(name, str(value))]
