"""Parameters of statements. A batch is an array for each column, so the SQL does not depend on the number of rows.

Every parameter has a prefix in the SQL: one that is named like a column would be taken by SQLAlchemy as a value for it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, SQLColumnExpression, any_, bindparam, column, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

_PREFIX = "given_"


def parameter(name: str, kind: TypeEngine[Any]) -> BindParameter[Any]:
    """Return the parameter `name` of a statement."""
    return bindparam(_PREFIX + name, type_=kind)


def given_name(name: str) -> str | None:
    """Return the name that a caller knows a parameter by; None for a value that the statement itself brings along."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None


def unnested(alias: str, /, **types: TypeEngine[Any]) -> TableValuedAlias:
    """Return a relation `alias` made of array parameters: one for each column, of the same name and of this type.

    It has as many rows as the longest array has elements; those that a shorter one lacks are NULL.
    """
    arrays = (parameter(name, ARRAY(kind)) for name, kind in types.items())
    columns = (column(name, kind) for name, kind in types.items())
    return func.unnest(*arrays).table_valued(*columns).render_derived(name=alias)


def in_order(alias: str, /, **types: TypeEngine[Any]) -> TableValuedAlias:
    """Return such a relation with a further column: the `place` of each element, from 1 on."""
    arrays = (parameter(name, ARRAY(kind)) for name, kind in types.items())
    columns = (column(name, kind) for name, kind in types.items())
    return func.unnest(*arrays).table_valued(*columns, with_ordinality="place").render_derived(name=alias)


def is_one_of(value: SQLColumnExpression[Any], name: str, kind: TypeEngine[Any]) -> ColumnElement[bool]:
    """Return the condition that `value` is in the array given as parameter `name`."""
    return value == any_(parameter(name, ARRAY(kind)))
