"""Each migration after the first only expands: the version before goes on working on the schema that it makes.

Read from PostgreSQL's catalogue before and after, where a change has one form, however its SQL is written. What is
meant all the same, such as a CHECK that allows more than before, is named in `MEANT` with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from task_migrations import upgrade
from task_store import REVISIONS

Schema = dict[str, list[Any]]
Read = Callable[[], Awaitable[Schema]]

MEANT: dict[str, str] = {}
"""Findings that do no harm, each with the reason why: `{"0002: …": "…"}`."""
NAMED_BY = {"columns": 2, "constraints": 2, "indexes": 2, "tables": 1, "functions": 1, "others": 1, "rules": 2}
"""How many of the first values of a row say what it is; the rest says how it is."""
FREE = {"functions"}
"""What may be replaced by something else of that name: `create_task(json)` is what callers write, not its body."""
RULES = """
    SELECT conrelid::regclass::text AS "table", conname AS name, contype::text AS kind,
           CASE WHEN contype = 'f' AND confdeltype NOT IN ('c', 'n', 'd') THEN confrelid::regclass::text END AS keeps,
           ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey)) AS columns
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT indrelid::regclass::text, indexrelid::regclass::text, 'unique index', NULL,
           ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY(indkey))
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indisunique AND relnamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    UNION ALL
    SELECT tgrelid::regclass::text, tgname, 'trigger', NULL, '{}' FROM pg_trigger WHERE NOT tgisinternal"""
"""What can refuse a row of a table, by the columns that it looks at; `keeps`: the table whose rows it keeps from being
deleted."""
TRIGGER = "CREATE TRIGGER new BEFORE UPDATE ON tasks EXECUTE FUNCTION suppress_redundant_updates_trigger()"
CONCURRENTLY = re.compile(r"INDEX CONCURRENTLY (?:IF NOT EXISTS )?(\w+)")


def contractions(before: Schema, after: Schema, made_concurrently: Collection[str] = ()) -> list[str]:
    """Return a line for each thing on which the version before can fail, or wait, after a migration."""
    return [*_gone_or_changed(before, after), *_demanded(before, after), *_locked(before, after, made_concurrently)]


def _gone_or_changed(before: Schema, after: Schema) -> Iterator[str]:
    for part in sorted(before.keys() - {"rules"}):  # which are in the other parts too
        now = _by_name(after, part)
        for name, how in _by_name(before, part).items():
            if name not in now:
                yield f"{'.'.join(name)} of the {part} is gone"
            elif how != now[name] and part not in FREE:
                yield f"{'.'.join(name)} of the {part} was {how} and is {now[name]}"


def _demanded(before: Schema, after: Schema) -> Iterator[str]:
    """Yield what refuses rows, or changes of rows, of tables that were there."""
    tables, columns = {row[0] for row in before["tables"]}, _by_name(before, "columns")
    for (table, column), (_, is_required, default, generated, identity, *_) in _new(before, after, "columns").items():
        if table in tables and is_required and default is None and not generated and not identity:
            yield f"{table}.{column} must be given"
    for (table, name), (kind, keeps, looks_at) in _new(before, after, "rules").items():
        if table in tables and (not looks_at or any((table, column) in columns for column in looks_at)):
            yield f"{name} ({kind}) may refuse a row of {table}"
        if keeps in tables:
            yield f"{name} refuses to delete a row of {keeps}"


def _locked(before: Schema, after: Schema, made_concurrently: Collection[str]) -> Iterator[str]:
    tables = {row[0] for row in before["tables"]}
    for table, name in _new(before, after, "indexes"):
        if table in tables and name not in made_concurrently:
            yield f"{name} is made without CONCURRENTLY: nobody writes to {table} meanwhile"


def _by_name(schema: Schema, part: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    names = NAMED_BY[part]
    return {row[:names]: row[names:] for row in schema[part]}


def _new(before: Schema, after: Schema, part: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    known = _by_name(before, part)
    return {name: how for name, how in _by_name(after, part).items() if name not in known}


@pytest.fixture
def read(connection: asyncpg.Connection, read_schema: Callable[[asyncpg.Connection], Awaitable[Schema]]) -> Read:
    async def read() -> Schema:
        rules = [tuple(row) for row in await connection.fetch(RULES) if row["table"] != "alembic_version"]
        return {**await read_schema(connection), "rules": rules}

    return read


async def test_each_migration_after_the_first_only_expands(
    database_url: str, read: Read, run: Callable[..., Awaitable[Any]]
) -> None:
    found = []
    await upgrade(database_url, revision=REVISIONS[0])
    for one, following in pairwise(REVISIONS):
        before = await read()
        await upgrade(database_url, revision=following)
        printed = await run("-m", "alembic", "upgrade", f"{one}:{following}", "--sql")
        assert printed.code == 0, printed.err
        found += [
            f"{following}: {line}" for line in contractions(before, await read(), CONCURRENTLY.findall(printed.out))
        ]

    assert sorted(found) == sorted(MEANT), "\n".join(found)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("ALTER TABLE tasks DROP COLUMN description", "tasks.description of the columns is gone"),
        ("ALTER TABLE tasks RENAME COLUMN description TO told", "tasks.description of the columns is gone"),
        ("ALTER TABLE tasks ALTER description TYPE varchar(9)", "tasks.description of the columns was ('text', "),
        ("ALTER TABLE tasks ALTER description SET NOT NULL", "tasks.description of the columns was ('text', False, "),
        ("ALTER TABLE tasks ALTER name DROP NOT NULL", "tasks.name of the columns was ('text', True, "),
        ("ALTER TABLE tasks ALTER labels DROP DEFAULT", "tasks.labels of the columns was ('jsonb', "),
        ("ALTER TABLE tasks ADD told text NOT NULL", "tasks.told must be given"),
        ("ALTER TABLE tasks ADD CONSTRAINT ck_new CHECK (name <> '')", "ck_new (c) may refuse a row of tasks"),
        ("ALTER TABLE tasks DROP CONSTRAINT ck_tasks_status", "tasks.ck_tasks_status of the constraints is gone"),
        ("ALTER TABLE tasks ADD CONSTRAINT uq_new UNIQUE (name)", "uq_new (u) may refuse a row of tasks"),
        ("CREATE UNIQUE INDEX ix_new ON tasks (name)", "ix_new (unique index) may refuse a row of tasks"),
        ("CREATE UNIQUE INDEX ix_new ON tasks (lower(name))", "ix_new (unique index) may refuse a row of tasks"),
        ("CREATE INDEX ix_new ON tasks (name)", "ix_new is made without CONCURRENTLY"),
        ("DROP INDEX ix_tasks_suspect", "tasks.ix_tasks_suspect of the indexes is gone"),
        ("DROP TABLE uncounted_tasks", "uncounted_tasks of the tables is gone"),
        ("DROP FUNCTION create_task(json)", "create_task(json) of the functions is gone"),
        (TRIGGER, "new (trigger) may refuse a row of tasks"),
        ("CREATE TABLE notes (task uuid REFERENCES tasks)", "notes_task_fkey refuses to delete a row of tasks"),
    ],
)
async def test_what_the_version_before_can_fail_on_is_found(
    database_url: str, connection: asyncpg.Connection, read: Read, change: str, finding: str
) -> None:
    await upgrade(database_url)
    before = await read()
    await connection.execute(change)

    found = contractions(before, await read())

    assert any(line.startswith(finding) for line in found), found


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tasks ADD told text",
        "ALTER TABLE tasks ADD told text NOT NULL DEFAULT ''",
        "ALTER TABLE tasks ADD told text CHECK (told <> '')",
        "CREATE TABLE notes (id uuid PRIMARY KEY, told text NOT NULL UNIQUE CHECK (told <> ''))",
        "CREATE TABLE notes (task uuid PRIMARY KEY REFERENCES tasks ON DELETE CASCADE)",
        "ALTER FUNCTION create_task(json) SET work_mem = '8MB'",
        "CREATE INDEX CONCURRENTLY ix_new ON tasks (name)",
    ],
)
async def test_what_expands_is_no_finding(
    database_url: str, connection: asyncpg.Connection, read: Read, change: str
) -> None:
    await upgrade(database_url)
    before = await read()
    await connection.execute(change)

    assert contractions(before, await read(), CONCURRENTLY.findall(change)) == []
