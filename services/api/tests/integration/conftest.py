"""The application on a migrated PostgreSQL, and a worker for states that the API cannot reach by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from task_api.app import create_app
from task_api.database import bring_up_to_date
from task_api.parts import ApiParts
from task_api.server import listen, serve
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
async def live_client(parts: ApiParts) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server on a socket: an endless answer needs one. The server is stopped after the test."""
    listener, hurry = listen("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, hurry))
    async with httpx2.AsyncClient(base_url=listener.url, timeout=30) as client:
        yield client
    parts.stop.set()
    async with asyncio.timeout(10):
        await serving


class Event(NamedTuple):
    """An event of a stream, with the id from which a client that has it resumes."""

    name: str
    data: dict[str, Any]
    id: str


class EventReader:
    """Reads a stream as the HTML standard has it; `lines` are all that were read."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self.lines: list[str] = []
        self._rest = answer.aiter_lines()

    async def next(self) -> Event | None:
        """Return the next event, which has data; None at the end of the stream."""
        name, data = "message", None
        async with asyncio.timeout(20):
            async for line in self._rest:
                self.lines.append(line)
                match line.split(": ", 1):
                    case ["event", value]:
                        name = value
                    case ["data", value]:
                        data = value
                    case ["id", value]:
                        self.last_id = value
                    case [""] if data is not None:
                        return Event(name, json.loads(data), self.last_id)
        return None

    async def rest(self) -> list[Event]:
        """Return the events up to the end of the stream."""
        return [event async for event in self._events()]

    async def _events(self) -> AsyncIterator[Event]:
        while (event := await self.next()) is not None:
            yield event


OpenStream = Callable[..., AbstractAsyncContextManager[EventReader]]


@pytest.fixture
def open_stream(live_client: httpx2.AsyncClient) -> OpenStream:
    """Open a stream: GET unless a body is given; `last_event_id` resumes."""

    @asynccontextmanager
    async def opened(path: str, last_event_id: str | None = None, **options: Any) -> AsyncIterator[EventReader]:
        headers = {} if last_event_id is None else {"last-event-id": last_event_id}
        method = "POST" if "json" in options else "GET"
        async with live_client.stream(method, path, headers=headers, **options) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield EventReader(answer)

    return opened


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

    async def end(self, claim: Claim) -> None:
        assert await self._attempts.record(Ending.complete(claim, None))

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
