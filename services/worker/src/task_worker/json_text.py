"""Makes the JSON to store of a value that a handler returned or keeps, as pydantic would write it.

It runs where the handler ran (on the loop, in a thread, in a process), inside the attempt: serialisers and properties
are the user's code too. So the child process of a handler imports this module, which therefore does not import the
store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import orjson
from pydantic import ConfigDict, TypeAdapter

from task_contracts import UnstorableJsonError, check_json, limits

# pydantic's usual null for NaN and infinity would hide them from `check_json`.
_PYDANTIC: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
_SCALARS = frozenset({type(None), bool, int, float, str})
_ARRAYS: tuple[Any, ...] = (list, tuple, set, frozenset)


def json_text(value: object, max_bytes: int) -> str | None:
    """Return a handler's value as the JSON to store; None for None.

    What is not plain JSON becomes what pydantic's JSON mode makes of it. Generators and other iterators are refused,
    since they may never end.

    Raises:
        UnstorableJsonError: there is no JSON for it, `check_json` refuses that JSON, it is larger than `max_bytes`, or
            the code of its classes raised something.

    """
    if value is None:
        return None
    try:
        text = orjson.dumps(check_json(value))
    except BaseException:  # noqa: BLE001 # whatever it is, the walk meets it again
        text = _converted(value)
    if len(text) > max_bytes:
        raise UnstorableJsonError((), f"is larger than {max_bytes} bytes")
    return text.decode()


def _converted(value: object) -> bytes:
    conversion = _Conversion()
    try:
        return orjson.dumps(check_json(conversion.plain(value)))
    except UnstorableJsonError:
        raise
    except BaseException as error:  # the user's code ran: a SystemExit too must end this attempt alone
        raise UnstorableJsonError(tuple(conversion.path), f"is not JSON: {_text_of(error)}") from error


class _Conversion:
    """One walk over a value. `path` is where the walk is, also after it has raised something."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self._nodes = 1
        self._unknown_by_mark: dict[object, type] = {}

    def plain(self, value: object) -> object:
        """Return `value` as plain JSON. What is nested too deep is left as it is, for `check_json` to refuse."""
        if len(self.path) >= limits.JSON_DEPTH:
            return value
        match opened := self._opened(value):
            case dict():
                self._count(len(opened))
                return self._object(opened)
            case list():
                return [self._member(str(number), item) for number, item in enumerate(opened)]
            case str() if kind := self._unknown_by_mark.get(opened):
                raise UnstorableJsonError(tuple(self.path), f"is of type {_name(kind)}, which is not JSON")
        return opened

    def _opened(self, value: object) -> object:
        """Return a value's members as a dict or a list, or a scalar as plain JSON."""
        if type(value) in _SCALARS or type(value) is dict:
            return value
        if isinstance(value, Enum) or hasattr(type(value), "__pydantic_serializer__"):
            return self._dumped(value)
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        if isinstance(value, dict):
            return dict(dict.items(value))
        for kind in _ARRAYS:
            if isinstance(value, kind):
                self._count(kind.__len__(value))
                return list(kind.__iter__(value))  # as pydantic reads it, whatever a subclass overrides
        if isinstance(value, Iterator):
            return self._mark(value)
        return self._dumped(value)

    def _dumped(self, value: object) -> object:
        return _PYDANTIC.dump_python(value, mode="json", fallback=self._mark)

    def _mark(self, value: object) -> str:
        """Return a text in place of a value that has no JSON: only the walk over a model's dump finds its path."""
        mark = f"\x00{len(self._unknown_by_mark)}"  # no text of the user's: NUL cannot be stored
        self._unknown_by_mark[mark] = type(value)
        return mark

    def _object(self, members: dict[Any, object]) -> dict[str, object]:
        plain: dict[str, object] = {}
        for key, item in members.items():
            name = key if type(key) is str else self._key(key)
            if name in plain:
                raise UnstorableJsonError((*self.path, name), "stands for two keys, which are one in JSON")
            plain[name] = self._member(name, item)
        return plain

    def _key(self, key: object) -> str:
        (name,) = _PYDANTIC.dump_python({key: None}, mode="json", fallback=self._mark)
        if kind := self._unknown_by_mark.get(name):
            raise UnstorableJsonError(tuple(self.path), f"has a key of type {_name(kind)}, which is not JSON")
        return str(name)

    def _member(self, name: str, item: object) -> object:
        self.path.append(name)
        plain = self.plain(item)
        self.path.pop()
        return plain

    def _count(self, members: int) -> None:
        self._nodes += members
        if self._nodes > limits.JSON_NODES:  # before they are copied
            raise UnstorableJsonError((), f"has more than {limits.JSON_NODES} values")


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text_of(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except BaseException:  # noqa: BLE001 # the `str` of a user's exception may raise anything
        return name
