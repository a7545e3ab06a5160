"""`docs/statements.md` is the statements, rendered; and no statement is missing on it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Executable

from task_store import Base
from task_store._driver_statement import compile_statement
from task_store._sql_layout import laid_out
from task_store._statements.statement import Statement
from task_store.statements_page import EXAMPLES, modules, render, statements

PAGE = Path(__file__).parents[4] / "docs" / "statements.md"
SHOWN = [*statements().values(), *(one for made in EXAMPLES.values() for one in made.values())]


def public(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def test_the_page_in_the_repository_equals_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), f"run: python -m task_store.statements_page {PAGE}"


def test_every_statement_of_a_module_is_on_the_page() -> None:
    page = render()

    assert all(f"\n### {name}\n" in page for name in statements())
    for name, module in modules().items():
        made = {title: value for title, value in public(module).items() if isinstance(value, Executable)}
        bare = [title for title, value in made.items() if not isinstance(value, ColumnElement)]  # a function is both
        assert bare == [], f"{name}: wrap it in a Statement"


def test_every_function_that_builds_statements_is_on_the_page_by_examples() -> None:
    builders = {
        f"{name}.{title}"
        for name, module in modules().items()
        for title, value in public(module).items()
        if inspect.isfunction(value) and value.__annotations__.get("return") == "Statement"
    }

    assert builders == EXAMPLES.keys()


@pytest.mark.parametrize("statement", SHOWN, ids=[f"statement {number}" for number in range(len(SHOWN))])
def test_every_statement_says_what_it_is_for_and_names_indexes_that_exist(statement: Statement) -> None:
    tables = Base.metadata.tables.values()
    known = {str(index.name) for table in tables for index in (*table.indexes, table.primary_key)}

    assert statement.purpose.endswith((".", ".)"))
    assert set(statement.indexes) <= known
    assert set(statement.scans) <= {*Base.metadata.tables, "alembic_version"}


def test_every_index_serves_a_statement() -> None:
    """Each costs every change of a row; one that nobody wants should go."""
    served = {name for statement in SHOWN for name in statement.indexes}

    assert {index.name for table in Base.metadata.tables.values() for index in table.indexes} <= served


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    written = tmp_path / "statements.md"

    subprocess.run([sys.executable, "-m", "task_store.statements_page", str(written)], check=True, timeout=60)

    assert written.read_bytes() == render().encode()


@pytest.mark.parametrize(
    "sql", [str(compile_statement(statement.sql)) for statement in SHOWN], ids=lambda sql: sql[:30]
)
def test_layout_changes_white_space_alone(sql: str) -> None:
    assert re.sub(r"\s+", "", laid_out(sql)) == re.sub(r"\s+", "", sql)


def test_layout_gives_a_line_to_each_clause_and_each_condition_that_does_not_fit() -> None:
    long = "a_column_of_a_long_name_that_fills_the_line"
    sql = f"SELECT {long}, b FROM t WHERE {long} = 'AND (, ' AND ({long} IS NULL OR {long} = 'x' OR b) ORDER BY b"

    assert laid_out(sql).splitlines() == [
        f"SELECT {long}, b",
        "FROM t",
        "WHERE",
        f"    {long} = 'AND (, '",
        "    AND (",
        f"        {long} IS NULL",
        f"        OR {long} = 'x'",
        "        OR b",
        "    )",
        "ORDER BY b",
    ]


def test_layout_leaves_what_fits_into_a_line() -> None:
    assert laid_out("SELECT a \nFROM t \nWHERE a = ANY (array((SELECT b \nFROM c)))") == (
        "SELECT a FROM t WHERE a = ANY (array((SELECT b FROM c)))"
    )
