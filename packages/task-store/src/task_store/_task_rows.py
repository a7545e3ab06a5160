"""Makes what callers are shown of the rows of tasks.

PostgreSQL holds the columns to their types and constraints, but for what is inside JSON. A row must not fail the page
that it stands in: in the place of a value that cannot be read stands a problem of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

from task_contracts import Priority, Progress, Task, TaskError, TaskState, TaskStatus, TaskSummary
from task_store._row import Row
from task_store.stored_json import UnreadableJsonError, read_json, read_labels, read_model, read_object

_Read = Callable[[str, str], Any]
_Problem = Callable[[str], Any]

Shown = TypeVar("Shown", Task, TaskSummary, TaskState)


def _as_error(message: str) -> TaskError:
    return TaskError(code="unreadable_json", message=message)


def _as_object(message: str) -> dict[str, str]:
    return {"code": "unreadable_json", "message": message}


def _as_progress(message: str) -> Progress:
    return Progress(percent=0, message=message)


_JSON: dict[str, tuple[_Read, _Problem]] = {
    "labels": (read_labels, _as_object),
    "payload": (read_object, _as_object),
    "result": (read_json, _as_object),
    "progress": (partial(read_model, Progress), _as_progress),
    "error": (partial(read_model, TaskError), _as_error),
    "filter": (read_object, _as_object),
}
"""How each JSON column is read, `filter` of the audit among them, and what a problem with it looks like."""
_WORDS: dict[str, Callable[[str], Any]] = {"status": TaskStatus, "priority": Priority}


def shown(model: type[Shown], row: Row) -> Shown:
    """Return as `model` what a row of `tasks` holds; the row may have more columns."""
    return of_values(model, {name: read_column(name, row[name]) for name in model.model_fields})


def of_values(model: type[Shown], values: dict[str, Any]) -> Shown:
    """Return a model that holds these values, which it keeps: one for each field, in the order of fields, and valid.

    It is what `model_construct` does once it has looked at each field again, which takes ten times as long.
    """
    made = model.__new__(model)
    keep = object.__setattr__  # the models are frozen
    keep(made, "__dict__", values)
    keep(made, "__pydantic_fields_set__", _fields_of(model))
    keep(made, "__pydantic_extra__", None)
    keep(made, "__pydantic_private__", None)
    return made


@cache
def _fields_of(model: type[Task | TaskSummary | TaskState]) -> set[str]:
    # One for all that are made: pydantic copies it where a copy of a model is made, and changes none of a frozen one.
    return set(model.model_fields)


def read_column(name: str, stored: Any) -> Any:
    """Return what callers are shown of a column, given its name and what the driver returned."""
    if name in _WORDS:
        return _WORDS[name](stored)
    if name not in _JSON or stored is None:
        return stored
    read, problem = _JSON[name]
    try:
        return read(name, stored)
    except UnreadableJsonError as error:
        return problem(str(error))
