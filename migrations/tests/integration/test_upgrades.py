"""Upgrades: several at once, locked tables, newer and unknown schemas, a database that does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from task_migrations import head, upgrade
from task_store import ContentionError, DatabaseUnavailableError, StoreError, UnmigratableSchemaError
from task_store.testing import PrivatePostgres

Heard = Callable[[], Awaitable[logging.LogRecord]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Return the next line that an upgrade logs, once it does."""
    lines: asyncio.Queue[logging.LogRecord] = asyncio.Queue()
    log_handler = logging.Handler()
    log_handler.emit = lines.put_nowait  # type: ignore[method-assign]
    logger = logging.getLogger("task_migrations.upgrades")
    logger.addHandler(log_handler)
    yield lambda: asyncio.wait_for(lines.get(), 20)
    logger.removeHandler(log_handler)


async def test_many_replicas_may_migrate_at_once(
    run: Callable[..., Awaitable[Any]], database_url: str, connection: asyncpg.Connection
) -> None:
    outcomes = await asyncio.gather(*(run("-m", "task_migrations", database_url=database_url) for _ in range(5)))

    assert [outcome.code for outcome in outcomes] == [0] * 5, outcomes
    assert {(outcome.out, outcome.err) for outcome in outcomes} == {(f"the schema is at revision {head()}\n", "")}
    assert await connection.fetch("SELECT version_num FROM alembic_version") == [(head(),)]


@pytest.mark.parametrize("lock", ["LOCK TABLE alembic_version", "SELECT pg_advisory_xact_lock(x'7461736B'::bigint)"])
async def test_upgrade_never_waits_long_for_a_lock_and_takes_place_once_it_is_free(
    lock: str, database_url: str, connection: asyncpg.Connection, heard: Heard
) -> None:
    await upgrade(database_url)
    await connection.execute(
        "DROP TABLE task_types, task_attempts, workers, tasks, queues, activity_minutes, queue_now, failure_hours,"
        " uncounted_tasks, api_keys, audit_log, pauses;"
        " DROP FUNCTION create_task"
    )
    await connection.execute("DELETE FROM alembic_version")

    async with asyncio.TaskGroup() as group, connection.transaction():
        await connection.execute(lock)
        upgrading = group.create_task(upgrade(database_url, lock_timeout="50ms"))
        delayed = await heard()
        waits = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
        was_done = upgrading.done()

    assert delayed.getMessage() == "migration_delayed"
    assert (waits, was_done) == (0, False)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == head()


async def test_upgrade_gives_up_at_its_deadline_and_changes_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(x'7461736B'::bigint)")
        with pytest.raises(ContentionError):
            await upgrade(database_url, lock_timeout="50ms", deadline_seconds=0.3)

    assert await connection.fetchval("SELECT to_regclass('tasks')") is None


@pytest.mark.private_servers
async def test_upgrade_waits_for_a_database_that_is_starting(heard: Heard) -> None:
    async with PrivatePostgres() as server:
        await server.stop()
        upgrading = asyncio.create_task(upgrade(server.url()))
        delayed = await heard()
        await server.start()
        await asyncio.wait_for(upgrading, 20)

        connection = await asyncpg.connect(server.url(), timeout=20)
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        await connection.close(timeout=20)

    assert delayed.getMessage() == "migration_delayed"
    assert revision == head()


async def test_upgrade_of_a_database_that_stays_away_has_an_end() -> None:
    with pytest.raises(DatabaseUnavailableError) as caught:
        await upgrade("postgresql://task:hunter2@127.0.0.1:1/tasks", deadline_seconds=0.3)

    assert "hunter2" not in str(caught.value)


async def test_schema_that_is_newer_than_the_package_is_left_with_a_warning(
    database_url: str, connection: asyncpg.Connection, heard: Heard
) -> None:
    await upgrade(database_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")

    await upgrade(database_url)

    assert (await heard()).getMessage() == "schema_is_newer"
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"


@pytest.mark.parametrize("revision", ["0000", "ae1027a6acf"])
async def test_schema_that_no_migration_leads_from_is_refused_and_left_as_it_is(
    revision: str, database_url: str, connection: asyncpg.Connection
) -> None:
    await upgrade(database_url)
    await connection.execute("UPDATE alembic_version SET version_num = $1", revision)

    for wanted in ("head", head()):
        with pytest.raises(UnmigratableSchemaError, match=rf"holds the schema '?{revision}\b.*use an empty database"):
            await upgrade(database_url, revision=wanted)

    assert await connection.fetchval("SELECT version_num FROM alembic_version") == revision


async def test_migration_that_the_database_refuses_changes_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("CREATE TABLE workers (mine int)")

    with pytest.raises(StoreError) as caught:
        await upgrade(database_url)

    assert caught.value.sqlstate == "42P07"
    assert await connection.fetchval("SELECT to_regclass('tasks')") is None
