"""The migrations create the same schema as the models, on every PostgreSQL that is here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from task_migrations import upgrade
from task_store import SCHEMA_REVISION, Database
from task_store.testing import PostgresServer, server_majors

ReadSchema = Callable[[asyncpg.Connection], Awaitable[dict[str, list[Any]]]]

MAKE_BOTH = """
import asyncio, sys
from task_migrations import upgrade
from task_store.testing import create_tables

async def main(for_models, for_migrations):
    await create_tables(for_models)
    await upgrade(for_migrations)

asyncio.run(main(*sys.argv[1:]))
"""

TABLES = {
    "tasks",
    "task_attempts",
    "workers",
    "task_types",
    "queues",
    "activity_minutes",
    "queue_now",
    "failure_hours",
    "uncounted_tasks",
    "api_keys",
    "audit_log",
    "pauses",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_server" in metafunc.fixturenames:
        metafunc.parametrize("postgres_server", server_majors(), indirect=True, scope="session")


async def test_migrated_schema_equals_the_models(
    run: Callable[..., Awaitable[Any]],
    read_schema: ReadSchema,
    database_url: str,
    postgres_server: PostgresServer,
    connection: asyncpg.Connection,
) -> None:
    """Both are made in a new process, which no test has changed."""
    name = f"models_{uuid4().hex}"
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        made = await run("-c", MAKE_BOTH, postgres_server.url(name), database_url)
        assert made.code == 0, made.err
        by_models = await asyncpg.connect(postgres_server.url(name), timeout=20)
        models = await read_schema(by_models)
        await by_models.close(timeout=20)
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    migrations = await read_schema(connection)
    functions = migrations.pop("functions"), models.pop("functions")
    for part, expected in models.items():
        assert migrations[part] == expected, part
    assert {row[0] for row in migrations["tables"]} == TABLES
    assert [[row[0] for row in found] for found in functions] == [["create_task(json)"], []]


async def test_upgrade_that_is_done_changes_nothing(
    database_url: str, read_schema: ReadSchema, connection: asyncpg.Connection
) -> None:
    await upgrade(database_url)
    await connection.execute("INSERT INTO task_types VALUES ('default', 'echo', '', NULL, now())")
    before = await read_schema(connection)

    await upgrade(database_url)

    assert await read_schema(connection) == before
    assert await connection.fetchval("SELECT count(*) FROM task_types") == 1


async def test_store_finds_the_revision_that_it_needs(database_url: str) -> None:
    async with Database(database_url) as database:
        before = await database.revision()
        await upgrade(database_url)
        after = await database.revision()

    assert (before, after) == (None, SCHEMA_REVISION)
