"""What `as_completed` and `map` are given: tasks that exist, and payloads of tasks to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias
from uuid import UUID

from task_client._calls import as_id
from task_contracts import TaskState

TaskReference: TypeAlias = UUID | str | TaskState
"""An id, or anything that has one: a state, a summary, a task."""


def ids_of(tasks: Iterable[TaskReference]) -> list[UUID]:
    """Return the ids of tasks, in their order.

    Raises:
        ValueError: one is not a UUID.

    """
    return [task.id if isinstance(task, TaskState) else as_id(task) for task in tasks]


def tasks_of_type(
    type_: str, payloads: Iterable[Mapping[str, object]], options: Mapping[str, object]
) -> Iterator[dict[str, object]]:
    """Yield a task of a type for each payload, named after the type."""
    for payload in payloads:
        yield {"name": type_, "type": type_, "payload": payload, **options}
