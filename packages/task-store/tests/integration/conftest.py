"""The store on a database of each test's own, on every PostgreSQL that is here; and the rows, past the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from uuid_utils.compat import uuid7

from task_contracts import Priority, TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, Presence
from task_contracts.testing import a_create
from task_store import (
    Attempts,
    Base,
    Claim,
    Database,
    Dispatches,
    NewTask,
    Offer,
    Tasks,
    Workers,
    new_lease_token,
    normalised_url,
)
from task_store._statements.statement import Statement
from task_store.testing import DatabaseTemplates, PostgresServer, PrepareDatabase, server_majors

DEADLINE_SECONDS = 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_server" in metafunc.fixturenames:
        metafunc.parametrize("postgres_server", server_majors(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def prepare_database() -> Callable[[str], Awaitable[None]]:
    async def create_tables(url: str) -> None:
        engine = create_async_engine(normalised_url(url), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()

    return create_tables


@pytest.fixture(scope="session")
def store_template(database_templates: DatabaseTemplates, prepare_database: PrepareDatabase) -> str:
    return database_templates.of(prepare_database)


@pytest.fixture(scope="session")
async def store_url(postgres_server: PostgresServer, store_template: str) -> AsyncIterator[str]:
    """The database that most tests share, one after the other."""
    name = f"store_{uuid4().hex}"
    await _execute(postgres_server.url(), f"CREATE DATABASE {name} TEMPLATE {store_template}")
    yield postgres_server.url(name)
    await _execute(postgres_server.url(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
async def pool(store_url: str) -> AsyncIterator[Database]:
    async with Database(store_url) as database:
        yield database


@pytest.fixture
async def database(pool: Database) -> Database:
    """The shared database, empty."""
    for name in ("tasks", "workers", "task_types"):
        await pool.fetch(Statement(text(f"DELETE FROM {name}")))
    return pool


@pytest.fixture
async def other_database(database: Database) -> AsyncIterator[Database]:
    """Connections of somebody else: another process, as far as PostgreSQL can tell."""
    async with Database(database.url) as other:
        yield other


@pytest.fixture
def tasks(database: Database) -> Tasks:
    return Tasks(database)


@pytest.fixture
def workers(database: Database) -> Workers:
    return Workers(database)


@pytest.fixture
def dispatches(database: Database) -> Dispatches:
    return Dispatches(database)


@pytest.fixture
def offer() -> Offer:
    """What the worker of most tests serves."""
    return Offer(("default",), {"echo": None})


@pytest.fixture
def attempts(database: Database, offer: Offer) -> Attempts:
    return Attempts(database, database, offer)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=DEADLINE_SECONDS, command_timeout=DEADLINE_SECONDS)
    try:
        await connection.execute(statement)
    finally:
        await connection.close(timeout=DEADLINE_SECONDS)


class Table:
    """The rows, past the store: put as a test wants them, read as they are.

    A timedelta stands for a time: so long from now, by the database's clock.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def now(self) -> datetime:
        return await self.connection.fetchval("SELECT clock_timestamp()")

    async def put(self, status: TaskStatus = TaskStatus.NEW, **columns: Any) -> UUID:
        """Insert a task: due for a minute, with what its status cannot do without."""
        defaults = {
            "id": uuid7(),
            "name": "a task",
            "type": "echo",
            "queue": "default",
            "priority": "MEDIUM",
            "status": status,
            "created_at": timedelta(hours=-1),
            "due_at": timedelta(minutes=-1),
            **_required(status),
        }
        row = {**defaults, **columns}
        await self._insert("tasks", row)
        return row["id"]

    async def fill(self, count: int, **columns: Any) -> list[UUID]:
        """Insert many NEW tasks at once, in the order of their ids; jsonb columns keep their defaults."""
        defaults = {
            "name": "a task",
            "type": "echo",
            "queue": "default",
            "priority": "MEDIUM",
            "status": "NEW",
            "created_at": timedelta(hours=-1),
            "due_at": timedelta(minutes=-1),
        }
        row = await self._values({**defaults, **columns})
        ids = [uuid7() for _ in range(count)]
        records = [(task_id, *row.values()) for task_id in ids]
        await self.connection.copy_records_to_table("tasks", columns=["id", *row], records=records)
        return ids

    async def running(self, worker_id: UUID, **columns: Any) -> UUID:
        """Insert a task that a worker holds."""
        return await self.put(TaskStatus.IN_PROGRESS, worker_id=worker_id, **columns)

    async def worker(self, **columns: Any) -> UUID:
        """Insert a worker: alive, ticking and steady."""
        defaults = {
            "id": uuid7(),
            "queues": ["default"],
            "types": ["echo"],
            "started_at": timedelta(hours=-1),
            "expires_at": timedelta(minutes=1),
            "ticked_at": timedelta(seconds=-1),
            "steady_since": timedelta(hours=-1),
            "reaches_broker": True,
        }
        row = {**defaults, **columns}
        await self._insert("workers", row)
        return row["id"]

    async def dead_worker(self, **columns: Any) -> UUID:
        """Insert a worker that was declared dead."""
        return await self.worker(expires_at=timedelta(minutes=-1), dead_at=timedelta(seconds=-30), **columns)

    async def row(self, task_id: UUID) -> dict[str, Any] | None:
        """Return a task as it stands."""
        found = await self.connection.fetchrow("SELECT * FROM tasks WHERE id = $1", task_id)
        return None if found is None else dict(found)

    async def status(self, task_id: UUID) -> str | None:
        return await self.connection.fetchval("SELECT status FROM tasks WHERE id = $1", task_id)

    async def set(self, table: str, row_id: UUID, **columns: Any) -> None:
        """Write into a row, of the table named."""
        values = await self._values(columns)
        assigned = ", ".join(f"{name} = ${place}" for place, name in enumerate(values, 2))
        await self.connection.execute(f"UPDATE {table} SET {assigned} WHERE id = $1", row_id, *values.values())

    async def fetch(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(query, *arguments)]

    async def clear(self) -> None:
        await self.connection.execute("DELETE FROM tasks; DELETE FROM workers; DELETE FROM task_types")

    async def _insert(self, table: str, row: dict[str, Any]) -> None:
        values = await self._values(row)
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        await self.connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())

    async def _values(self, columns: dict[str, Any]) -> dict[str, Any]:
        now = await self.now()
        return {name: now + value if isinstance(value, timedelta) else value for name, value in columns.items()}


def _required(status: TaskStatus) -> dict[str, Any]:
    values = {
        "started_at": timedelta(minutes=-30),
        "worker_id": uuid4(),
        "lease_token": uuid4(),
        "finished_at": timedelta(minutes=-10),
        "error": {"code": "handler_error", "message": "an earlier one", "type": None},
    }
    return {name: value for name, value in values.items() if COLUMN_RULES[name][status] is Presence.ALWAYS}


@pytest.fixture
async def connect(store_url: str, database: Database) -> AsyncIterator[Callable[[], Awaitable[asyncpg.Connection]]]:
    """Open plain connections to the shared database; all are closed after the test."""
    opened: list[asyncpg.Connection] = []

    async def open_one() -> asyncpg.Connection:
        connection = await asyncpg.connect(store_url, timeout=DEADLINE_SECONDS, command_timeout=DEADLINE_SECONDS)
        opened.append(connection)
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        return connection

    yield open_one
    for connection in opened:
        await connection.close(timeout=DEADLINE_SECONDS)


@pytest.fixture
async def table(connect: Callable[[], Awaitable[asyncpg.Connection]]) -> Table:
    return Table(await connect())


@pytest.fixture
def waiting_for_lock(table: Table) -> Callable[[int], Awaitable[None]]:
    """Return when so many statements of this database wait for a lock that another one holds."""

    async def wait(statements: int = 1) -> None:
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'"
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await table.connection.fetchval(query) < statements:  # noqa: ASYNC110 # the server sets no event
                await asyncio.sleep(0)

    return wait


@pytest.fixture
def claim_one(attempts: Attempts, table: Table) -> Callable[..., Awaitable[Claim]]:
    """Put a task and claim it by a worker that lives."""

    async def claim(worker_id: UUID | None = None, **columns: Any) -> Claim:
        worker = worker_id or await table.worker()
        (claimed,) = await attempts.claim(worker, [await table.put(**columns)], new_lease_token())
        return claimed

    return claim


@pytest.fixture
def new_task() -> Callable[..., NewTask]:
    """Make a task to be created."""

    def make(**fields: Any) -> NewTask:
        type_ = fields.pop("type", "echo")
        return NewTask(a_create(**fields), type_)

    return make


@pytest.fixture
def to_json() -> Callable[[object], str]:
    """Write JSON as a worker does."""
    return lambda value: orjson.dumps(value).decode()


@pytest.fixture
def weights() -> dict[Priority, int]:
    """The usual weights."""
    return {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}
