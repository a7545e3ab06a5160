"""A row of an answer, as the driver and SQLAlchemy both give it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Row(Protocol):
    """A row of an answer, its values by the names of the columns."""

    def __getitem__(self, name: str, /) -> Any: ...

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the value of a column, or `default` if there is none of this name."""

    def keys(self) -> Iterable[str]:
        """Return the names, in the order of the statement."""

    def values(self) -> Iterable[Any]:
        """Return the values, in the order of the statement."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return the names and the values, in the order of the statement."""
