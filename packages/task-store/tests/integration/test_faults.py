"""A database that freezes, dies, restarts or refuses: calls end in time with a StoreError, and later ones work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress

import pytest
from sqlalchemy import make_url, text

from task_store import Database, DatabaseUnavailableError
from task_store._statements.statement import Statement
from task_store.testing import PrivatePostgres

pytestmark = pytest.mark.private_servers

DEADLINE_SECONDS = 0.6
LATEST_SECONDS = DEADLINE_SECONDS + 2
"""Two seconds for a busy machine: without the deadline it would be for ever."""


@pytest.fixture(scope="module")
async def shared_server() -> AsyncIterator[PrivatePostgres]:
    async with PrivatePostgres() as server:
        yield server


@pytest.fixture
async def server(shared_server: PrivatePostgres) -> AsyncIterator[PrivatePostgres]:
    """A private server, which a test may leave frozen or stopped."""
    yield shared_server
    shared_server.resume()
    if shared_server.pid is None:
        await shared_server.start()


@pytest.fixture
async def frail(server: PrivatePostgres) -> AsyncIterator[Database]:
    """A database with a short deadline, connected once."""
    database = Database(server.url(), pool_size=2, deadline_seconds=DEADLINE_SECONDS)
    await ask(database)
    yield database
    server.resume()
    await database.aclose()


def sql(statement: str) -> Statement:
    return Statement(text(statement))


async def ask(database: Database) -> None:
    """Run the smallest statement there is."""
    await database.fetch(sql("SELECT 1"))


async def fails_in_time(call: Awaitable[object]) -> DatabaseUnavailableError:
    start = time.monotonic()
    with pytest.raises(DatabaseUnavailableError) as caught:
        await call
    assert time.monotonic() - start < LATEST_SECONDS
    return caught.value


async def recovers(database: Database) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await ask(database)
            except DatabaseUnavailableError:
                continue
            return


async def test_frozen_server_is_unavailable_in_time_and_later_answers_again(
    server: PrivatePostgres, frail: Database
) -> None:
    server.pause()

    await fails_in_time(ask(frail))
    await fails_in_time(ask(frail))  # over a new connection, which it does not answer either
    server.resume()
    await recovers(frail)


async def test_all_who_wait_for_a_frozen_server_are_told_in_time(server: PrivatePostgres, frail: Database) -> None:
    server.pause()

    errors = await asyncio.gather(*(fails_in_time(ask(frail)) for _ in range(6)))

    assert len(errors) == 6


async def test_frozen_server_does_not_hold_up_the_closing(server: PrivatePostgres) -> None:
    database = Database(server.url(), deadline_seconds=DEADLINE_SECONDS)
    await ask(database)
    server.pause()

    start = time.monotonic()
    with suppress(DatabaseUnavailableError):
        await database.aclose()

    assert time.monotonic() - start < LATEST_SECONDS


async def test_stopped_server_is_unavailable_at_once_and_recovers_with_it(
    server: PrivatePostgres, frail: Database
) -> None:
    await server.stop()
    await fails_in_time(ask(frail))
    await fails_in_time(ask(frail))

    await server.start()

    await recovers(frail)


async def test_no_call_pays_for_a_restart(server: PrivatePostgres, frail: Database) -> None:
    await asyncio.gather(ask(frail), ask(frail))  # two connections that will be dead
    await server.stop()
    await server.start()

    for _ in range(3):
        await ask(frail)


async def test_server_that_is_killed_under_a_statement_is_unavailable(server: PrivatePostgres, frail: Database) -> None:
    async with Database(server.url(), deadline_seconds=20, application_name="victim") as database:
        running = asyncio.create_task(database.fetch(sql("SELECT pg_sleep(20)")))
        query = sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active'")
        async with asyncio.timeout(20):
            while not await frail.fetch(query):
                pass

        await server.kill()

        await fails_in_time(running)


async def test_statement_that_takes_too_long_is_ended_by_the_server(server: PrivatePostgres) -> None:
    async with Database(server.url(), deadline_seconds=20, statement_timeout_seconds=0.1) as database:
        error = await fails_in_time(database.fetch(sql("SELECT pg_sleep(10)")))

        await ask(database)

    assert error.sqlstate == "57014"


async def test_connection_that_never_comes_free_is_given_up_in_time(server: PrivatePostgres) -> None:
    async with Database(server.url(), pool_size=1, deadline_seconds=DEADLINE_SECONDS) as database:
        async with database._engine.connect():
            error = await fails_in_time(ask(database))

        await ask(database)

    assert str(error) == "no database connection came free in time"


async def test_cancelled_call_gives_its_connection_back(server: PrivatePostgres) -> None:
    async with Database(server.url(), pool_size=1) as database:
        sleeping = asyncio.create_task(database.fetch(sql("SELECT pg_sleep(10)")))
        await asyncio.sleep(0)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping

        await ask(database)


@pytest.mark.parametrize(
    ("changes", "sqlstate"),
    [
        ({"password": "hunter2-wrong"}, "28P01"),
        ({"username": "nobody"}, "28P01"),
        ({"database": "missing"}, "3D000"),
        ({"port": 1}, None),
        ({"host": "host.invalid"}, None),
    ],
    ids=lambda value: str(value),
)
async def test_database_that_cannot_be_entered_is_unavailable_and_no_secret_is_told(
    changes: dict[str, str], sqlstate: str | None, server: PrivatePostgres
) -> None:
    url = make_url(server.url()).set(**changes)
    async with Database(url.render_as_string(hide_password=False)) as database:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await ask(database)

    assert caught.value.sqlstate == sqlstate
    assert not {part for part in (url.password, url.host, "nobody", "missing") if part in str(caught.value)}


async def test_server_out_of_connections_is_unavailable() -> None:
    settings = {"max_connections": "5", "superuser_reserved_connections": "1"}
    async with PrivatePostgres(settings=settings) as server, Database(server.url(), pool_size=5) as first:
        await asyncio.gather(*(first.fetch(sql("SELECT pg_sleep(0.2)")) for _ in range(5)))
        async with Database(server.url()) as second:
            error = await fails_in_time(ask(second))

    assert error.sqlstate == "53300"
    assert "sorry, too many clients already" in str(error)


async def test_revision_is_waited_for_while_the_server_is_away(server: PrivatePostgres) -> None:
    await server.stop()
    async with Database(server.url()) as database:
        waiting = asyncio.create_task(database.wait_for_revision(20))
        await server.start()

        assert await waiting is None


async def test_waiting_for_the_revision_has_an_end(server: PrivatePostgres) -> None:
    await server.stop()
    async with Database(server.url()) as database:
        await fails_in_time(database.wait_for_revision(0.3))
