"""Statements as the driver takes them: a text with $1, $2 and so on, and a list of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import ClauseElement, Dialect, Executable
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import ARRAY, Boolean, TypeEngine

from task_store._statements.parameters import given_name

DIALECT: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's, which is typed but for this
_STATEMENTS_MAX = 500
"""More than this package has."""


@dataclass(frozen=True, slots=True)
class DriverStatement:
    """A statement, compiled once.

    `text` is what PostgreSQL gets. `_arguments` are, in the order of $1, $2 and so on, the name of a parameter, or None
    and the value that the statement itself brings along.
    """

    text: str
    _arguments: tuple[tuple[str | None, Any], ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the arguments, given the values of the parameters by their names; others are left out.

        An array of nothing but None is sent empty: `unnested` gives the same rows, and asyncpg looks at each element.

        Raises:
            KeyError: a parameter has no value.

        """
        return [own if name is None else _sent(values[name]) for name, own in self._arguments]


def _sent(value: Any) -> Any:
    is_all_none = type(value) is list and bool(value) and value.count(None) == len(value)
    return [] if is_all_none else value


def compile_statement(sql: Executable) -> SQLCompiler:
    """Return a statement as SQLAlchemy compiles it for the driver."""
    statement = cast(ClauseElement, sql)  # which every executable is
    return cast(SQLCompiler, statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))


@lru_cache(_STATEMENTS_MAX)
def driver_statement(sql: Executable) -> DriverStatement:
    """Return the form of a statement that is the same for each call.

    Raises:
        TypeError: a parameter is of a type whose values SQLAlchemy would convert first.

    """
    compiled = compile_statement(sql)
    names = compiled.positiontup or ()
    for name in names:
        if name in compiled.binds and not _is_sent_as_it_is(compiled.binds[name].type):
            raise TypeError(f"the parameter {name} is of a type that is converted before it is sent")
    return DriverStatement(str(compiled), tuple((given_name(name), compiled.params.get(name)) for name in names))


def _is_sent_as_it_is(kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, ARRAY):
        return _is_sent_as_it_is(kind.item_type)
    # What SQLAlchemy has for a Boolean only looks whether it is one, as the driver does too.
    return isinstance(kind, Boolean) or kind.dialect_impl(DIALECT).bind_processor(DIALECT) is None
