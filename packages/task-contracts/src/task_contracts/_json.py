"""Checks JSON before it is stored: payloads, results, progress and errors.

Accepted is exactly what PostgreSQL's jsonb stores and returns unchanged. Each thing refused was measured to break
something later: NUL (SQLSTATE 22021, 22P05), a lone surrogate (22P02), NaN (silently null), an integer
beyond int8 (read back as a float), deep nesting (54001).
"""

from __future__ import annotations

import math
from typing import TypeAlias

from task_contracts import _limits as limits

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]


class UnstorableJsonError(ValueError):
    """A value that cannot be stored as JSON.

    `path` is the place in it (`("rows", "3", "price")`); `reason` says what is wrong there, without the value itself.
    A repeat with the same value fails again.
    """

    def __init__(self, path: tuple[str, ...], reason: str) -> None:
        super().__init__(f"{'.'.join(path) or 'the value'}: {reason}")
        self.path = path
        self.reason = reason


def check_text(text: str) -> str:
    """Return `text` unchanged if PostgreSQL can store it.

    Raises:
        ValueError: it holds a NUL character or a lone surrogate; the message says which.

    """
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain a lone surrogate") from None
    return text


def storable_text(text: str, max_chars: int) -> str:
    """Return `text` made storable: NUL and lone surrogates become U+FFFD; what is too long is cut and ends with "…".

    `max_chars` is at least 1.
    """
    clean = text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return clean if len(clean) <= max_chars else clean[: max_chars - 1] + "…"


def check_json(value: object) -> JsonValue:
    """Return `value` itself (not a copy) if it is JSON that can be stored.

    Accepts `None`, `bool`, `str`, `int` with |n| < 2**63, finite `float`, and lists, tuples and string-keyed
    dicts of these, to a depth of 64 and 20,000 nodes in all. Of subclasses only those that orjson writes: none of
    `float` (numpy's) or `tuple` (named ones), and no enum as a key. Uses a stack of its own, so a deep value needs no
    recursion and a cycle ends at the limit of depth or nodes. Counts a container before walking it, so a huge list is
    refused at once.

    Raises:
        UnstorableJsonError: for anything else, with the place and the reason.

    """
    nodes = 1
    stack: list[tuple[object, int, tuple[str, ...]]] = [(value, 1, ())]
    while stack:
        node, depth, path = stack.pop()
        if depth > limits.JSON_DEPTH:
            raise UnstorableJsonError(path[:8], f"is nested deeper than {limits.JSON_DEPTH} levels")
        # Read past what a subclass overrides, as orjson writes it: an own `__iter__` may hide something, or never end.
        if isinstance(node, dict):
            nodes = _count(nodes, dict.__len__(node))
            for key, item in dict.items(node):
                _check_key(key, path)
                if depth == limits.JSON_DEPTH or not _is_plain(item):
                    stack.append((item, depth + 1, (*path, key)))
        elif isinstance(node, list) or type(node) is tuple:
            nodes = _count(nodes, list.__len__(node) if isinstance(node, list) else len(node))
            items = list.__iter__(node) if isinstance(node, list) else node
            stack.extend(
                (item, depth + 1, (*path, str(place)))
                for place, item in enumerate(items)
                if depth == limits.JSON_DEPTH or not _is_plain(item)
            )
        else:
            _check_scalar(node, path)
    return value  # type: ignore[return-value] # the walk above has just shown it


def _count(nodes: int, members: int) -> int:
    nodes += members
    if nodes > limits.JSON_NODES:
        raise UnstorableJsonError((), f"has more than {limits.JSON_NODES} values")
    return nodes


def _is_plain(node: object) -> bool:
    """Return whether this is one of the values that most JSON consists of, which need no closer look."""
    if type(node) is str:
        return node.isascii() and "\x00" not in node
    if type(node) is int:
        return -limits.INTEGER_BOUND < node < limits.INTEGER_BOUND
    return node is None or node is True or node is False


def _check_key(key: object, path: tuple[str, ...]) -> None:
    if type(key) is not str:
        raise UnstorableJsonError(path, f"has a key of type {type(key).__name__}, not a string")
    if len(key) > limits.JSON_KEY_CHARS:
        raise UnstorableJsonError(path, f"has a key longer than {limits.JSON_KEY_CHARS} characters")
    if not _is_plain(key):
        try:
            check_text(key)
        except ValueError as error:
            raise UnstorableJsonError(path, f"has a key that {error}") from None


def _check_scalar(node: object, path: tuple[str, ...]) -> None:
    match node:
        case None | bool():
            return
        case str():
            try:
                check_text(node)
            except ValueError as error:
                raise UnstorableJsonError(path, str(error)) from None
        case int():
            if abs(node) >= limits.INTEGER_BOUND:
                raise UnstorableJsonError(path, "is an integer beyond 64 bits")
        case float() if type(node) is float:
            if not math.isfinite(node):
                raise UnstorableJsonError(path, "is not a finite number")
        case _:
            raise UnstorableJsonError(path, f"is of type {type(node).__name__}, which is not JSON")
