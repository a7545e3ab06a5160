"""The bodies of creates: from a `TaskCreate` or a mapping, one by one or in batches. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Required, TypeAlias, TypedDict

from pydantic import BaseModel, ValidationError

from task_client._errors import ValidationFailedError
from task_contracts import FieldProblem, Priority, Problem, ProblemCode, TaskCreate, limits

BATCH_BYTES = limits.BATCH_BODY_BYTES - (64 << 10)
"""What the service takes, less some room."""
_BEGIN, _END = b'{"tasks":[', b"]}"
_NODES_AROUND = 2
"""The object and its list."""


class TaskOptions(TypedDict, total=False):
    """What a task can be given beside its name, its type and its payload. See `TaskCreate`."""

    description: str | None
    priority: Priority
    queue: str
    labels: Mapping[str, str]
    run_at: datetime | None
    """Not before this time; with an offset, at most a year ahead."""
    timeout_seconds: float | None
    max_attempts: int | None


class TaskFields(TaskOptions, total=False):
    """The fields of a task to be created. See `TaskCreate`."""

    name: Required[str]
    type: str | None
    payload: Mapping[str, object]


NewTask: TypeAlias = TaskCreate | Mapping[str, object]
"""A task to be created: checked already, or as a mapping of the fields of `TaskCreate`."""


@dataclass
class Batch:
    """Tasks of one batch call; `first` is the index of the first in all that is created."""

    first: int
    bodies: list[bytes] = field(default_factory=list)
    size: int = len(_BEGIN) + len(_END)
    nodes: int = _NODES_AROUND

    @property
    def content(self) -> bytes:
        """The body of the call."""
        return _BEGIN + b",".join(self.bodies) + _END

    def has_room(self, body: bytes, nodes: int) -> bool:
        """Whether one more task fits; the first one always does."""
        return not self.bodies or (
            len(self.bodies) < limits.BATCH_TASKS_MAX
            and self.size + len(body) + 1 <= BATCH_BYTES
            and self.nodes + nodes <= limits.BATCH_JSON_NODES
        )

    def add(self, body: bytes, nodes: int) -> None:
        """Add a task."""
        self.bodies.append(body)
        self.size += len(body) + 1
        self.nodes += nodes


def as_create(task: NewTask, place: str = "body") -> TaskCreate:
    """Return a mapping as a `TaskCreate`; texts of a date or a priority are read as JSON's are.

    Raises:
        ValidationFailedError: a field is wrong; `place` begins the names of the fields.

    """
    if isinstance(task, TaskCreate):
        return task
    try:
        return TaskCreate.model_validate(dict(task), strict=False)
    except ValidationError as error:
        raise _refused(error, place) from None


def encoded(task: TaskCreate) -> bytes:
    """Return a task as JSON. Fields that were not set are not sent, so the service's defaults apply."""
    return task.model_dump_json(exclude_unset=True).encode()


def checked(model: type[BaseModel], fields: Mapping[str, Any]) -> bytes:
    """Return a body of a model as JSON, without the fields that are None.

    Raises:
        ValidationFailedError: a field is wrong.

    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return model.model_validate(given).model_dump_json(exclude_unset=True).encode()
    except ValidationError as error:
        raise _refused(error, "body") from None


def batches(tasks: Iterable[NewTask]) -> Iterator[Batch]:
    """Yield tasks in as few batches as the service's limits allow; tasks are taken as they are needed.

    Raises:
        ValidationFailedError: a task is wrong; the name of each field begins with its index in all of `tasks`.

    """
    batch = Batch(0)
    index = -1
    for index, task in enumerate(tasks):
        create = as_create(task, f"tasks.{index}")
        body, nodes = encoded(create), _nodes(create.model_dump(exclude_unset=True))
        if not batch.has_room(body, nodes):
            yield batch
            batch = Batch(index)
        batch.add(body, nodes)
    if batch.bodies:
        yield batch


def _nodes(value: object) -> int:
    """Count the values in a JSON tree, as `check_json` does."""
    nodes, left = 0, [value]
    while left:
        node = left.pop()
        nodes += 1
        if isinstance(node, dict):
            left.extend(node.values())
        elif isinstance(node, list | tuple):
            left.extend(node)
    return nodes


def field_problems(error: ValidationError, place: str) -> list[FieldProblem]:
    """Return what pydantic finds wrong, by field; `place` begins the names of the fields. No value is repeated."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FieldProblem(
            field=".".join([place, *(str(part) for part in one["loc"])]),
            message=one["msg"].removeprefix("Value error, "),
        )
        for one in found
    ]


def _refused(error: ValidationError, place: str) -> ValidationFailedError:
    found = field_problems(error, place)
    fields = ", ".join(one.field for one in found)
    problem = Problem(
        title="Unprocessable Content",
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        detail=f"not sent, since it would be refused: {fields}",
        code=ProblemCode.VALIDATION,
        errors=found,
    )
    return ValidationFailedError(problem, None, is_repeat_safe=True)
