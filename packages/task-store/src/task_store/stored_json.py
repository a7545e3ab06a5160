"""Reads the JSON texts of rows, which may have been written by other hands than ours.

Each value is read by itself, so that one which cannot be read concerns its own task alone.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

from task_contracts import Progress, TaskError

_DEPTH_MAX = 200
"""Levels of JSON: pydantic writes no more than 255 into an answer (2.14)."""

Model = TypeVar("Model", Progress, TaskError)


class UnreadableJsonError(ValueError):
    """A stored JSON value cannot be read. The text says which and why, without the value.

    PostgreSQL's `json` takes texts that no parser turns into values (`1e999`, a lone surrogate), `jsonb` takes 1e400,
    and both take any shape and hundreds of levels.
    """

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"the stored {column} cannot be read: {reason}")


def read_json(column: str, text: str) -> Any:
    """Return the value of a stored JSON text.

    Raises:
        UnreadableJsonError: no parser reads it, or it is too deep to be shown.

    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableJsonError(column, error.msg) from None
    if text.count("[") + text.count("{") > _DEPTH_MAX and _is_too_deep(value):
        raise UnreadableJsonError(column, f"more than {_DEPTH_MAX} levels")
    return value


def read_object(column: str, text: str) -> dict[str, Any]:
    """Return the object of a stored JSON text, such as a payload.

    Raises:
        UnreadableJsonError: no parser reads it, or it is no object.

    """
    value = read_json(column, text)
    if not isinstance(value, dict):
        raise UnreadableJsonError(column, "not a JSON object")
    return value


def read_labels(column: str, text: str) -> dict[str, str]:
    """Return the labels of a stored JSON text.

    Raises:
        UnreadableJsonError: no parser reads it, or it is no object of strings.

    """
    labels = read_object(column, text)
    if not all(isinstance(label, str) for label in labels.values()):
        raise UnreadableJsonError(column, "not an object of strings")
    return labels


def read_model(model: type[Model], column: str, text: str) -> Model:
    """Return the model that a stored JSON text describes.

    Raises:
        UnreadableJsonError: it describes none.

    """
    try:
        return model.model_validate_json(text)
    except ValueError:  # pydantic's own, whose text repeats the value
        raise UnreadableJsonError(column, f"not the JSON of a {model.__name__}") from None


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value
