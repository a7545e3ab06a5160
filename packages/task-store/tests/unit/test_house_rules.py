"""Rules of this package that no linter knows, read from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import task_store
from task_contracts import TaskStatus

SOURCE = Path(task_store.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
SQL = re.compile(r"^(SELECT|INSERT|UPDATE|DELETE|WITH|TABLE|CREATE|DROP|ALTER|TRUNCATE|SET|LOCK)\b")
BUILDERS = {"select", "insert", "update", "delete", "text", "union_all", "func"}
"""What statements are built with."""
STATUS = re.compile(rf"\b({'|'.join(TaskStatus)})\b")


def name_of(module: Path) -> str:
    return str(module.relative_to(SOURCE))


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Return the texts that are statements by themselves: docstrings, of modules, functions and constants."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def texts(tree: ast.AST) -> Iterator[str]:
    """Return the texts that a program works with."""
    described = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in described:
            yield node.value


@pytest.mark.parametrize("module", [path for path in MODULES if path.parent.name != "testing"], ids=name_of)
def test_only_the_table_of_the_life_cycle_says_which_statuses_are_meant(module: Path) -> None:
    """Guards, predicates of indexes and filters derive theirs from the sources of events."""
    tree = ast.parse(module.read_text())

    assert [text for text in texts(tree) if STATUS.search(text)] == []
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert named & TaskStatus.__members__.keys() == set()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_statements_stand_in_the_folder_of_statements_alone(module: Path) -> None:
    """But for those that make a database, the schema's own expressions, and what tests do behind the store's back."""
    tree = ast.parse(module.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    statements = [text for text in texts(tree) if SQL.search(text)]

    match name_of(module).split("/"):
        case ["_statements" | "testing" | "_sql_layout.py", *_]:
            return
        case ["_models", *_]:
            assert statements == []
        case ["embedded", "_supervisor.py"]:
            assert statements == ["SELECT 1 FROM pg_database WHERE datname = $1", "CREATE DATABASE "]
        case _:
            assert statements == []
            assert imported & BUILDERS == set()
