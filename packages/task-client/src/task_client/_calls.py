"""Builds the request of each call of the REST API. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from task_contracts import Priority, SortOrder, TaskCreate, TaskStatus, View

_TASKS = "/api/v1/tasks"

Params = tuple[tuple[str, str], ...]


class TaskFilters(TypedDict, total=False):
    """Filters of a list. A task must meet all that are given."""

    status: TaskStatus | Iterable[TaskStatus]
    """This one, or any of these."""
    priority: Priority | Iterable[Priority]
    """This one, or any of these."""
    labels: Mapping[str, str]
    """All of these."""
    type: str
    queue: str
    name: str
    """A part of the name, in upper or lower case."""
    created_from: datetime
    """Created at this time or later; with an offset."""
    created_to: datetime
    """Created before this time; with an offset."""
    order: SortOrder
    """By time of creation; the newest first if left out."""
    limit: int
    """Tasks on a page, 1 to 200; 50 if left out."""


@dataclass(frozen=True)
class Call:
    """One request. `answers` are statuses outside 2xx whose body is an answer and not a problem."""

    method: str
    path: str
    params: Params = ()
    content: bytes | None = None
    key: str | None = None
    """The Idempotency-Key of a create."""
    answers: frozenset[int] = field(default_factory=frozenset)
    is_repeated: bool = False
    """Whether the client repeats the call by itself where that may help."""

    @property
    def is_repeat_safe(self) -> bool:
        """Whether a repeat cannot do the work twice."""
        return self.method != "POST"


def create(task: TaskCreate) -> Call:
    """POST a task. Fields that were not set are not sent, so the service's defaults apply."""
    return Call("POST", _TASKS, content=task.model_dump_json(exclude_unset=True).encode())


def get(task_id: UUID | str) -> Call:
    """GET a task with all its fields."""
    return Call("GET", _path(task_id), is_repeated=True)


def status(task_id: UUID | str) -> Call:
    """GET a task's state."""
    return Call("GET", f"{_path(task_id)}/status", is_repeated=True)


def cancel(task_id: UUID | str) -> Call:
    """DELETE a task: cancel it, or request that if it is running."""
    return Call("DELETE", _path(task_id))


def page(filters: TaskFilters, view: View, cursor: str | None = None, include_total: bool = False) -> Call:
    """GET one page of a list."""
    params = [pair for name, value in filters.items() for pair in _pairs(name, value)]
    if view is View.FULL:
        params.append(("view", view))
    if include_total:
        params.append(("include_total", "true"))
    first = Call("GET", _TASKS, tuple(params), is_repeated=True)
    return first if cursor is None else after(first, cursor)


def after(call: Call, cursor: str) -> Call:
    """GET the page after the one that returned this cursor."""
    params = tuple(pair for pair in call.params if pair[0] != "cursor")
    return replace(call, params=(*params, ("cursor", cursor)))


def live() -> Call:
    """GET whether the process answers at all."""
    return Call("GET", "/health/live")


def ready() -> Call:
    """GET whether the service takes requests. Here a 503 is an answer too."""
    return Call("GET", "/health/ready", answers=frozenset({503}))


def _path(task_id: UUID | str) -> str:
    return f"{_TASKS}/{task_id if isinstance(task_id, UUID) else UUID(task_id)}"


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case datetime():
            yield name, value.isoformat()
        case Mapping():
            yield from (("label", f"{key}:{text}") for key, text in value.items())
        case Iterable() if not isinstance(value, str):
            yield from ((name, str(one)) for one in value)
        case _:
            yield name, str(value)
