"""Plain Alembic, from the root of the workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from task_migrations import upgrade
from task_store import REVISIONS, SCHEMA_REVISION

Run = Callable[..., Awaitable[Any]]
DESCRIBED = {
    "0001f": "The first schema: tasks, their attempts, workers, the types on offer, the queues, and create_task().",
    "0002": "Keys of callers, and the record of what operators did.",
    "0003": "Pauses, and which schema the code of a worker knows.",
}
ReadSchema = Callable[[asyncpg.Connection], Awaitable[dict[str, list[Any]]]]


async def test_alembic_upgrades_to_head_and_back_to_nothing(
    run: Run, read_schema: ReadSchema, database_url: str, connection: asyncpg.Connection
) -> None:
    upgraded = await run("-m", "alembic", "upgrade", "head", database_url=database_url)
    revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    downgraded = await run("-m", "alembic", "downgrade", "base", database_url=database_url)

    assert (upgraded.code, downgraded.code) == (0, 0), upgraded.err + downgraded.err
    assert revision == SCHEMA_REVISION
    assert all(found == [] for found in (await read_schema(connection)).values())
    assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 0


async def test_alembic_says_what_it_applied_and_that_nothing_was_to_do(run: Run, database_url: str) -> None:
    first = await run("-m", "alembic", "upgrade", "head", database_url=database_url)
    again = await run("-m", "alembic", "upgrade", "head", database_url=database_url)
    current = await run("-m", "alembic", "current", database_url=database_url)
    back = await run("-m", "alembic", "downgrade", "base", database_url=database_url)

    assert first.out.splitlines() == [f"applied {one}: {DESCRIBED[one]}" for one in REVISIONS]
    assert again.out == f"nothing to do: the schema is at revision {SCHEMA_REVISION}\n"
    assert current.out == f"{SCHEMA_REVISION} (head)\n"
    assert back.out.splitlines() == [f"took back {one}: {DESCRIBED[one]}" for one in reversed(REVISIONS)]
    assert [outcome.err for outcome in (first, again, current, back)] == [""] * 4


async def test_printed_sql_makes_the_same_schema(
    run: Run, read_schema: ReadSchema, database_url: str, connection: asyncpg.Connection
) -> None:
    printed = await run("-m", "alembic", "upgrade", "head", "--sql")
    await connection.execute(printed.out)
    by_hand = await read_schema(connection)
    await upgrade(database_url)
    revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await upgrade(database_url)

    assert printed.code == 0, printed.err
    assert revision == SCHEMA_REVISION
    assert by_hand == await read_schema(connection)


async def test_alembic_without_a_database_says_in_one_line_what_to_set(run: Run) -> None:
    outcome = await run("-m", "alembic", "upgrade", "head")

    assert outcome.code == 1
    assert outcome.err.strip().splitlines()[-1].startswith("TASK_DATABASE_URL is not set")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("postgresql://task:hunter2@no-such-host.invalid/tasks", 2, "TASK_DATABASE_URL: host no-such-host.invalid, "),
        ("postgresql://task:hunter2@127.0.0.1:1/tasks", 1, "the database does not answer (ConnectionRefusedError)"),
    ],
)
async def test_alembic_says_in_one_line_that_the_database_cannot_be_used(
    run: Run, url: str, code: int, says: str
) -> None:
    outcome = await run("-m", "alembic", "upgrade", "head", database_url=url)

    assert outcome.code == code
    (line,) = outcome.err.splitlines()
    assert line.startswith(says)
    assert "hunter2" not in line


async def test_alembic_says_in_one_line_that_no_migration_leads_from_a_schema(
    run: Run, database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    await connection.execute("INSERT INTO alembic_version VALUES ('0000')")

    outcome = await run("-m", "alembic", "upgrade", "head", database_url=database_url)

    assert outcome.code == 1
    assert outcome.err.strip().splitlines()[-1].startswith("the database holds the schema 0000 of a version before")
    assert "Traceback" not in outcome.err
