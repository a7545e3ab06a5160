"""The store on a database that each test finds empty, on every PostgreSQL that is here; and the rows past the store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from sqlalchemy import text

from task_contracts import Priority
from task_contracts.testing import a_create
from task_store import (
    Attempts,
    Base,
    Claim,
    Claims,
    Database,
    Dispatches,
    NewTask,
    Offer,
    Tasks,
    Workers,
    new_lease_token,
)
from task_store._statements.statement import Statement
from task_store.low_water import LowWater
from task_store.scan_pace import ScanPace
from task_store.testing import (
    DatabaseTemplates,
    PostgresServer,
    PrepareDatabase,
    Table,
    connect_past_store,
    create_tables,
    server_majors,
)

DEADLINE_SECONDS = 20
Poll = Callable[..., Awaitable[Sequence[Claim]]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_server" in metafunc.fixturenames:
        metafunc.parametrize("postgres_server", server_majors(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def prepare_database() -> Callable[[str], Awaitable[None]]:
    return create_tables


@pytest.fixture(scope="session")
def store_template(database_templates: DatabaseTemplates, prepare_database: PrepareDatabase) -> str:
    return database_templates.of(prepare_database)


@pytest.fixture(scope="session")
async def store_url(postgres_server: PostgresServer, store_template: str) -> AsyncIterator[str]:
    """The database that most tests use one after the other."""
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
    for one in reversed(Base.metadata.sorted_tables):
        await pool.fetch(Statement(text(f"DELETE FROM {one.name}")))
    return pool


@pytest.fixture
async def other_database(database: Database) -> AsyncIterator[Database]:
    """Other connections to the shared database: for PostgreSQL they are another process."""
    async with Database(database.url) as other:
        yield other


@pytest.fixture
def tasks(database: Database) -> Tasks:
    return Tasks(database)


@pytest.fixture
def workers(database: Database) -> Workers:
    return Workers(database)


def never_slow() -> LowWater:
    """Make low-water times that are never needed: on a busy machine a scan may be slow, and tests put old tasks."""
    return LowWater(ScanPace(cheap_seconds=math.inf))


@pytest.fixture
def dispatches(database: Database) -> Dispatches:
    dispatches = Dispatches(database, database)
    dispatches._low_water = never_slow()
    return dispatches


@pytest.fixture
def offer() -> Offer:
    """What the worker of most tests offers."""
    return Offer(("default",), {"echo": None})


@pytest.fixture
def attempts(database: Database, offer: Offer) -> Attempts:
    return Attempts(database)


@pytest.fixture
def claims(database: Database, offer: Offer, weights: Mapping[Priority, int]) -> Claims:
    claims = Claims(database, database, database, offer, weights)
    claims._low_water = never_slow()
    return claims


@pytest.fixture
def poll() -> Poll:
    """Claim what a scan of the table finds, as a worker does."""

    async def one(
        claims: Claims, worker: UUID, slots: int, overdue: timedelta = timedelta(seconds=2)
    ) -> Sequence[Claim]:
        ids = await claims.find_overdue(slots=slots, overdue=overdue)
        return (await claims.by_id(worker, ids, new_lease_token(), slots=slots)).claims

    return one


@pytest.fixture
def claim_suspect() -> Poll:
    """Claim the longest due suspect that nobody else is claiming, as a worker does."""

    async def one(claims: Claims, worker: UUID, held_ids: Sequence[UUID] = ()) -> Sequence[Claim]:
        for task_id in await claims.find_suspects(overdue=timedelta(seconds=2)):
            if claimed := (await claims.suspect(worker, task_id, new_lease_token(), held_ids=held_ids)).claims:
                return claimed
        return []

    return one


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=DEADLINE_SECONDS, command_timeout=DEADLINE_SECONDS)
    try:
        await connection.execute(statement)
    finally:
        await connection.close(timeout=DEADLINE_SECONDS)


@pytest.fixture
async def connect(store_url: str, database: Database) -> AsyncIterator[Callable[[], Awaitable[asyncpg.Connection]]]:
    """Open plain connections to the shared database; all are closed after the test."""
    opened: list[asyncpg.Connection] = []

    async def open_one() -> asyncpg.Connection:
        opened.append(await connect_past_store(store_url))
        return opened[-1]

    yield open_one
    for connection in opened:
        await connection.close(timeout=DEADLINE_SECONDS)


@pytest.fixture
async def table(connect: Callable[[], Awaitable[asyncpg.Connection]]) -> Table:
    return Table(await connect())


@pytest.fixture
def waiting_for_lock(table: Table) -> Callable[[int], Awaitable[None]]:
    """Wait until this many statements of the database wait for a lock that another one holds."""

    async def wait(statements: int = 1) -> None:
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'"
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await table.connection.fetchval(query) < statements:  # noqa: ASYNC110 # the server has no event for it
                await asyncio.sleep(0)

    return wait


@pytest.fixture
def claim_one(claims: Claims, table: Table) -> Callable[..., Awaitable[Claim]]:
    """Put a task and claim it for a live worker."""

    async def claim(worker_id: UUID | None = None, **columns: Any) -> Claim:
        worker = worker_id or await table.worker()
        (claimed,) = (await claims.by_id(worker, [await table.put(**columns)], new_lease_token())).claims
        return claimed

    return claim


@pytest.fixture(scope="session")
def purge() -> Callable[[Workers, timedelta], Awaitable[int]]:
    """Find up to ten tasks that ended so long ago, and delete them."""

    async def find_and_delete(workers: Workers, age: timedelta, rows: int = 10) -> int:
        return await workers.purge(age, [old.id for old in await workers.old_tasks(age, rows=rows)])

    return find_and_delete


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
