"""The fixtures: a server for each session, a fresh database for each test.

They work on an event loop of their own, between the loops of the tests: so they serve async tests of any plugin, and
tests that are not async.
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
    """Provide the event loop that the other fixtures work on."""
    # With a factory the runner does not replace the thread's current loop, which is that of the tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest, testing_runner: asyncio.Runner) -> Iterator[PostgresServer]:
    """Provide a server: the one that TASK_TEST_DATABASE_URL names, or else a private one.

    Its parameter is the major version of the private one (`server_majors`). Fails if there is none.
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
    """Provide the function that creates the schema in an empty database, given its URL. To be overridden.

    By default there is no schema. The function runs once a session, on a template that `database_url` copies: so return
    the same function each time. It must close its connections.
    """
    return None


class DatabaseTemplates:
    """The databases that others are copied from: one for each `prepare_database`, since a run may have several."""

    def __init__(self, server: PostgresServer, runner: asyncio.Runner) -> None:
        self._server = server
        self._runner = runner
        self._made: list[str] = []
        self._names: dict[PrepareDatabase | None, str] = {None: "template1"}

    def of(self, prepare: PrepareDatabase | None) -> str:
        """Return the name of the database to copy, on which `prepare` has worked; an empty database for None."""
        if prepare is not None and prepare not in self._names:
            name = _new_name()
            self._runner.run(_execute(self._server, f"CREATE DATABASE {name}"))
            self._made.append(name)
            self._runner.run(_prepare(prepare, self._server.url(name)))
            self._names[prepare] = name
        return self._names[prepare]

    def drop(self) -> None:
        """Drop them all."""
        for name in self._made:
            self._runner.run(_drop(self._server, name))


@pytest.fixture(scope="session")
def database_templates(postgres_server: PostgresServer, testing_runner: asyncio.Runner) -> Iterator[DatabaseTemplates]:
    """Provide the databases that others are copied from."""
    templates = DatabaseTemplates(postgres_server, testing_runner)
    yield templates
    templates.drop()


@pytest.fixture
def database_url(
    postgres_server: PostgresServer,
    database_templates: DatabaseTemplates,
    prepare_database: PrepareDatabase | None,
    testing_runner: asyncio.Runner,
) -> Iterator[str]:
    """Provide the URL of a database of this test alone; dropped after it, even if somebody is still connected."""
    name, template = _new_name(), database_templates.of(prepare_database)
    testing_runner.run(_execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE {template}"))
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
