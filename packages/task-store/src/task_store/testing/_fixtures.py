"""The fixtures: a server for each session, a fresh database for each test.

They run what they do on an event loop of their own, between the tests' loops: so they serve tests of any kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from task_store.embedded import EmbeddedPostgresError
from task_store.testing._servers import VARIABLE, PostgresServer, given_server, private_server

PrepareDatabase: TypeAlias = Callable[[str], Awaitable[None]]

_SECONDS = 60.0


@pytest.fixture(scope="session")
def testing_runner() -> Iterator[asyncio.Runner]:
    """Give the loop that the other fixtures work on."""
    # With a factory the runner leaves the thread's current loop alone, which is that of the tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest, testing_runner: asyncio.Runner) -> Iterator[PostgresServer]:
    """Give a server: the one that TASK_TEST_DATABASE_URL names, else a private one.

    Its parameter is the private one's major version (`server_majors`). Fails where none can be had.
    """
    if given := given_server():
        yield given
        return
    try:
        server = private_server(getattr(request, "param", None))
        testing_runner.run(server.__aenter__())
    except EmbeddedPostgresError as error:
        advice = f"no PostgreSQL for the tests: {error}. Or set {VARIABLE} to a server of yours."
        raise pytest.fail.Exception(advice, pytrace=False) from None
    yield server
    testing_runner.run(server.aclose())


@pytest.fixture(scope="session")
def prepare_database() -> PrepareDatabase | None:
    """Give what creates the schema in an empty database, by its URL. Override it; by default there is no schema.

    It runs once a session, on a template which `database_url` copies. It must close its connections.
    """
    return None


@pytest.fixture(scope="session")
def database_template(
    postgres_server: PostgresServer, prepare_database: PrepareDatabase | None, testing_runner: asyncio.Runner
) -> Iterator[str | None]:
    """Give the name of the database that `prepare_database` worked on; None where there is nothing to prepare."""
    if prepare_database is None:
        yield None
        return
    name = _new_name()
    testing_runner.run(_execute(postgres_server, f"CREATE DATABASE {name}"))
    try:
        testing_runner.run(_prepare(prepare_database, postgres_server.url(name)))
        yield name
    finally:
        testing_runner.run(_drop(postgres_server, name))


@pytest.fixture
def database_url(
    postgres_server: PostgresServer, database_template: str | None, testing_runner: asyncio.Runner
) -> Iterator[str]:
    """Give the URL of a database of this test alone, dropped after it whoever is still connected."""
    name = _new_name()
    testing_runner.run(_execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE {database_template or 'template1'}"))
    yield postgres_server.url(name)
    testing_runner.run(_drop(postgres_server, name))


def _new_name() -> str:
    return f"test_{uuid4().hex}"


async def _prepare(prepare_database: PrepareDatabase, url: str) -> None:
    await prepare_database(url)


async def _drop(server: PostgresServer, name: str) -> None:
    await _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _execute(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url(), timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        await connection.execute(statement)
    finally:
        await connection.close(timeout=_SECONDS)
