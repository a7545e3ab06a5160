"""Empty databases, commands in processes of their own, and the contents of a schema."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

DEADLINE_SECONDS = 60
WORKSPACE = Path(__file__).parents[3]


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    code: int | None
    out: str
    err: str


@pytest.fixture
def run() -> Callable[..., Awaitable[Finished]]:
    """Run a module of Python in a process of its own, from the root of the workspace."""

    async def run(*arguments: str, database_url: str | None = None) -> Finished:
        environment = {name: value for name, value in os.environ.items() if name != "TASK_DATABASE_URL"}
        if database_url is not None:
            environment["TASK_DATABASE_URL"] = database_url
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=WORKSPACE,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Finished(process.returncode, out.decode(), err.decode())

    return run


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, timeout=DEADLINE_SECONDS, command_timeout=DEADLINE_SECONDS)
    yield connection
    await connection.close(timeout=DEADLINE_SECONDS)


SCHEMA = {
    "columns": """
        SELECT attrelid::regclass::text AS "table", attname, format_type(atttypid, atttypmod), attnotnull,
               pg_get_expr(adbin, adrelid) AS "default", attgenerated::text, attidentity::text,
               attcollation::regcollation::text
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r'
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
        ORDER BY attrelid::regclass::text, attnum""",
    "constraints": """
        SELECT conrelid::regclass::text AS "table", conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": """
        SELECT indrelid::regclass::text AS "table", indexrelid::regclass::text AS "index",
               pg_get_indexdef(indexrelid), indisvalid
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "tables": """
        SELECT relname, relkind::text, reloptions, relpersistence::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'S', 'f', 'p') ORDER BY 1""",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), proacl::text
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
    "others": """
        SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT typname FROM pg_type
                  WHERE typnamespace = 'public'::regnamespace AND typtype <> 'c' AND typelem = 0""",
}


@pytest.fixture
def read_schema() -> Callable[[asyncpg.Connection], Awaitable[dict[str, list[Any]]]]:
    """Read everything that makes a schema from PostgreSQL's catalogue, without Alembic's own table."""

    async def read(connection: asyncpg.Connection) -> dict[str, list[Any]]:
        rows = {part: [tuple(row) for row in await connection.fetch(query)] for part, query in SCHEMA.items()}
        return {part: [row for row in found if row[0] != "alembic_version"] for part, found in rows.items()}

    return read
