"""The application on a migrated PostgreSQL, and a worker for states that the API cannot reach by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from task_api.database import bring_up_to_date
from task_api.parts import ApiParts
from task_bus.signals import MemoryHub
from task_contracts import Priority, Signal, SignalKind, TaskError
from task_migrations import upgrade
from task_store import Attempts, Claim, Claims, Database, Ending, Offer, Workers, new_lease_token, new_worker_id
from task_store.testing import DatabaseTemplates, PostgresServer, PrepareDatabase

TASKS = "/api/v1/tasks"
LEASE = timedelta(minutes=5)


@pytest.fixture(scope="session")
def prepare_database() -> Callable[[str], Awaitable[None]]:
    return upgrade


@pytest.fixture
def hub() -> MemoryHub:
    """The other end of the signals."""
    return MemoryHub()


@pytest.fixture
async def parts(
    open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]], database_url: str, hub: MemoryHub
) -> AsyncIterator[ApiParts]:
    async with open_parts(database_url, hub) as opened:
        yield opened


@pytest.fixture(scope="session")
def api_template(database_templates: DatabaseTemplates, prepare_database: PrepareDatabase) -> str:
    return database_templates.of(prepare_database)


@pytest.fixture(scope="session")
async def shared_parts(
    open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]],
    postgres_server: PostgresServer,
    api_template: str,
) -> AsyncIterator[ApiParts]:
    """The parts of one application on one database, for hundreds of quick requests."""
    name = f"api_{uuid4().hex}"
    admin = await asyncpg.connect(postgres_server.url(), timeout=10, command_timeout=10)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {api_template}")
    async with open_parts(postgres_server.url(name)) as opened:
        await bring_up_to_date(opened.settings, opened.database)
        yield opened
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close(timeout=10)


@pytest.fixture(scope="session")
async def shared_client(
    shared_parts: ApiParts, open_client: Callable[[ApiParts], httpx2.AsyncClient]
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that application."""
    async with open_client(shared_parts) as client:
        yield client


@pytest.fixture(scope="session")
async def create_in_sql(shared_parts: ApiParts) -> AsyncIterator[Callable[[bytes], Awaitable[UUID]]]:
    """Create a task by the SQL function create_task(), in that database; raises what PostgreSQL raises."""
    url = shared_parts.settings.database_url.get_secret_value()
    connection = await asyncpg.connect(url, timeout=10, command_timeout=10)

    async def created(body: bytes) -> UUID:
        return await connection.fetchval("SELECT create_task(convert_from($1, 'UTF8')::json)", body)

    yield created
    await connection.close(timeout=10)


@pytest.fixture
async def client(
    parts: ApiParts, open_client: Callable[[ApiParts], httpx2.AsyncClient]
) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_client(parts) as opened:
        yield opened


@pytest.fixture
def create(client: httpx2.AsyncClient) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Create a task named "a task" and return it; any field can be given."""

    async def created(**fields: Any) -> dict[str, Any]:
        answer = await client.post(TASKS, json={"name": "a task", **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return created


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database that does not go through the store."""
    connection = await asyncpg.connect(database_url, timeout=10, command_timeout=10)
    yield connection
    await connection.close(timeout=10)


class Worker:
    """Claims and records as a worker does, and runs nothing."""

    def __init__(self, database: Database) -> None:
        self.id = new_worker_id()
        self._offer = Offer(("default",), {"echo": None})
        self._workers = Workers(database)
        self._attempts = Attempts(database)
        self._claims = Claims(database, database, database, self._offer, dict.fromkeys(Priority, 1))

    async def register(self) -> None:
        await self._workers.register(self.id, self._offer, LEASE)

    async def claim(self, task_id: str) -> Claim:
        (claim,) = (await self._claims.by_id(self.id, [UUID(task_id)], new_lease_token())).claims
        return claim

    async def complete(self, task_id: str, result: str | None = None) -> None:
        assert await self._attempts.record(Ending.complete(await self.claim(task_id), result))

    async def fail(self, task_id: str) -> None:
        error = TaskError(code="handler_error", message="it broke", type="RuntimeError")
        assert await self._attempts.record(Ending.fail(await self.claim(task_id), error))


@pytest.fixture
async def worker(parts: ApiParts) -> Worker:
    """A live worker of the queue `default` that offers `echo`."""
    one = Worker(parts.database)
    await one.register()
    return one


class ReceivedSignals:
    """The signals that the application has sent, one after the other."""

    def __init__(self, hub: MemoryHub) -> None:
        self._received: asyncio.Queue[Signal] = asyncio.Queue()
        for kind in SignalKind:
            hub.listeners[kind].append(self._received.put_nowait)

    async def next(self) -> Signal:
        async with asyncio.timeout(5):
            return await self._received.get()


@pytest.fixture
def received(hub: MemoryHub) -> ReceivedSignals:
    return ReceivedSignals(hub)
