"""The statements as a page for people: `docs/statements.md`.

`python -m task_store.statements_page docs/statements.md` writes it; a test holds the written page against the code.
"""

from __future__ import annotations

import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.compiler import SQLCompiler

from task_contracts import Priority, SortOrder
from task_contracts.lifecycle import CANCELLATION, Event
from task_store import _statements
from task_store._driver_statement import DIALECT, compile_statement
from task_store._models import Base
from task_store._sql_layout import laid_out
from task_store._statements import bulk, changes, matching, pages
from task_store._statements.parameters import given_name
from task_store._statements.statement import Statement
from task_store.records import AuditContext, TaskFilter

_BEGINNING = """\
# Statements

Everything that the service runs on its tables: for each statement what it does, its parameters, how it finds its rows,
and its SQL as it is compiled, so that a change of SQL is seen in review. In the SQL a parameter stands under its name,
`:id`, where PostgreSQL gets `$1`. Which event of [the life cycle](states.md) may happen to a row is decided by the
conditions on `status` and beside it, which are generated from its table.

Where it says "tells the changed ids", `Database` calls its `on_changed` with them: whoever waits for one of these tasks
reads it again.

Generated from `task_store._statements`; do not edit. After a change there, write it anew:

    uv run python -m task_store.statements_page docs/statements.md
"""
_INDEXES = """\
## Indexes

What each is for. `test_plans.py` holds the plans of PostgreSQL to those of `tasks`.
"""
_MANY = TaskFilter(
    statuses=matching.UNSUCCESSFUL,
    priorities=frozenset({Priority.HIGH, Priority.MEDIUM}),
    labels=(("customer", "42"),),
    type="report.build",
    queue="reports",
    name="monthly",
    id_prefix="019dd6a408",
    finished_from=datetime(2026, 5, 2, tzinfo=UTC),
    finished_to=datetime(2026, 5, 3, tzinfo=UTC),
    created_from=datetime(2026, 5, 1, tzinfo=UTC),
    created_to=datetime(2026, 6, 1, tzinfo=UTC),
    order=SortOrder.OLDEST,
    after=UUID("019dd6a4-0800-7000-8000-000000000000"),
)
_OF_A_QUEUE = TaskFilter(queue="reports")
_BEGAN_AT = datetime(2026, 6, 1, tzinfo=UTC)
_CONTEXT = AuditContext("billing", "6c5f1c39", {"queue": "reports"})
_BY_IDS = TaskFilter(ids=(UUID("019dd6a4-0800-7000-8000-000000000001"), UUID("019dd6a4-0800-7000-8000-000000000002")))
_BY_KIND = TaskFilter(fingerprint="4f0c2b9a1d3e5f60")
_BY_WORKER = TaskFilter(worker_id=UUID("019dd6a4-0800-7000-8000-000000000003"))
EXAMPLES: Mapping[str, Mapping[str, Statement]] = {
    "bulk.change": {
        "cancel those of a queue": bulk.change(CANCELLATION, _OF_A_QUEUE, items=1_000, began_at=None, audit=_CONTEXT),
        "rerun, all that a filter can ask for, a later call": bulk.change(
            [Event.RERUN], _MANY, items=1_000, began_at=_BEGAN_AT, audit=_CONTEXT
        ),
        "rerun a kind of failure": bulk.change([Event.RERUN], _BY_KIND, items=1_000, began_at=None, audit=_CONTEXT),
    },
    "bulk.count": {
        "of a queue, to be cancelled": bulk.count(CANCELLATION, _OF_A_QUEUE, began_at=None),
        "all, to be rerun": bulk.count([Event.RERUN], TaskFilter(), began_at=None),
    },
    "pages.page": {
        "the newest tasks, whole": pages.page(TaskFilter(), is_full=True, items=50),
        "those of a key": pages.page(TaskFilter(idempotency_key="order-42"), is_full=False, items=50),
        "all that a list can ask for, summaries, oldest first": pages.page(_MANY, is_full=False, items=50),
        "of these ids": pages.page(_BY_IDS, is_full=False, items=50),
        "of a kind of failure": pages.page(_BY_KIND, is_full=False, items=50),
        "what a worker runs": pages.page(_BY_WORKER, is_full=False, items=50),
    },
    "changes.present": {
        "of a queue": changes.present(TaskFilter(queue="reports"), datetime(2026, 5, 1, tzinfo=UTC), items=1_001),
    },
    "pages.total": {
        "of all tasks": pages.total(TaskFilter()),
        "of those that a list can ask for": pages.total(_MANY),
    },
}
"""Statements that are built for each call, for some arguments; by the function that builds them."""


def modules() -> dict[str, ModuleType]:
    """Return the modules that hold statements, by their names, sorted."""
    names = [module.name for module in pkgutil.iter_modules(_statements.__path__)]
    return {name: import_module(f"{_statements.__name__}.{name}") for name in sorted(names)}


def statements() -> dict[str, Statement]:
    """Return every statement, by its module and name, such as `claims.POLL`; those of a module in their order."""
    return {
        f"{module}.{name}": value
        for module, content in modules().items()
        for name, value in vars(content).items()
        if isinstance(value, Statement)
    }


def render() -> str:
    """Return the page as Markdown: the indexes, then the statements by their modules. Ends with a line break."""
    built = {f"{name}: {what}": one for name, made in EXAMPLES.items() for what, one in made.items()}
    shown = {**statements(), **built}
    parts = [_BEGINNING, _INDEXES, _table_of_indexes()]
    for name, module in modules().items():
        own = {title: one for title, one in shown.items() if title.startswith(f"{name}.")}
        if own:
            parts += [f"## {name}\n", f"{_summary(module)}\n", *(_section(*item) for item in own.items())]
    return "\n".join(parts)


def _summary(module: ModuleType) -> str:
    return " ".join((module.__doc__ or "").split("\n\n")[0].split())


def _table_of_indexes() -> str:
    lines = ["| index | serves |", "|---|---|"]
    for definition, name in _indexes():
        users = [f"`{title}`" for title, one in statements().items() if name in one.indexes]
        users += [f"`{title}`" for title, made in EXAMPLES.items() if any(name in one.indexes for one in made.values())]
        lines.append(f"| {definition} | {', '.join(users)} |")
    return "\n".join(lines) + "\n"


def _indexes() -> Iterator[tuple[str, str]]:
    for table in Base.metadata.sorted_tables:
        yield _key(table), str(table.primary_key.name)
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            _, _, definition = str(CreateIndex(index).compile(dialect=DIALECT)).partition("INDEX ")
            yield f"`{definition}`", str(index.name)


def _key(table: Table) -> str:
    return f"`{table.primary_key.name} ON {table.name} ({', '.join(column.name for column in table.primary_key)})`"


def _section(title: str, statement: Statement) -> str:
    sql = compile_statement(statement.sql)
    facts = [
        *_names("Parameters", _parameters(sql)),
        *_names("Values", _values(sql)),
        *_names("Finds rows by", (f"`{name}`" for name in statement.indexes)),
        *_names("Reads the whole of", (f"`{name}`" for name in statement.scans)),
        *(["- Tells the changed ids"] if statement.tells_changes else []),
    ]
    heading = f"### {title}\n\n{statement.purpose}\n"
    return "\n".join([heading, *facts, *([""] if facts else []), "```sql", laid_out(_named(sql)), "```", ""])


def _names(what: str, names: Iterator[str] | list[str]) -> list[str]:
    joined = ", ".join(names)
    return [f"- {what}: {joined}"] if joined else []


def _parameters(sql: SQLCompiler) -> Iterator[str]:
    for name in sql.positiontup or ():
        if (given := given_name(name)) is not None:
            yield f"`{given}` {DIALECT.type_compiler_instance.process(sql.binds[name].type)}"


def _values(sql: SQLCompiler) -> Iterator[str]:
    """Return what the statement itself brings along as parameters."""
    for name in sql.positiontup or ():
        if given_name(name) is None:
            value = sql.params[name]
            yield f"`{name}` = {json.dumps(value, default=str)}"


def _named(sql: SQLCompiler) -> str:
    names = sql.positiontup or []
    return re.sub(r"\$(\d+)", lambda number: _placeholder(names[int(number[1]) - 1]), str(sql))


def _placeholder(name: str) -> str:
    return f":{given_name(name) or name}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8", newline="\n")
