"""Connections that ended, or lead to a server that takes no writes: no caller pays for one that was idle."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url, text

from task_store import Database, DatabaseUnavailableError, NewTask, NotExecutedError, StoreError, Tasks
from task_store._statements.statement import Statement
from task_store.testing import connect_past_store

POOL_SIZE = 4
GOODBYE = b"SFATAL\0VFATAL\0C57P05\0Mterminating connection due to idle-session timeout\0\0"
"""What a server sends before it closes a connection, as in PostgreSQL's protocol."""


def sql(statement: str) -> Statement:
    return Statement(text(statement))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database of this test alone, all of whose connections are open and idle."""
    async with Database(database_url, pool_size=POOL_SIZE, application_name="under test") as opened:
        await asyncio.gather(*(opened.fetch(sql("SELECT pg_sleep(0.1)")) for _ in range(POOL_SIZE)))
        yield opened


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect_past_store(database_url)
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
def all_gone(admin: asyncpg.Connection) -> Callable[[], Awaitable[None]]:
    """Wait until the server has no connection of the database under test any more."""

    async def wait() -> None:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'under test'"
        async with asyncio.timeout(20):
            while await admin.fetchval(query):  # noqa: ASYNC110 # the server has no event for it
                await asyncio.sleep(0)

    return wait


async def end_connections(admin: asyncpg.Connection) -> None:
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'under test'")


async def driver_of(database: Database) -> asyncpg.Connection[Any]:
    """Return asyncpg's own connection, the one that the next call will use."""
    async with database._engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    return driver


async def pid(database: Database) -> int:
    (row,) = await database.fetch(sql("SELECT pg_backend_pid() AS pid"))
    return int(row["pid"])


async def test_connections_that_the_server_closed_while_idle_cost_no_call(
    database: Database, admin: asyncpg.Connection, all_gone: Callable[[], Awaitable[None]]
) -> None:
    for _ in range(3):
        await end_connections(admin)
        await all_gone()

        await asyncio.gather(*(pid(database) for _ in range(20)))
        for _ in range(POOL_SIZE):
            await pid(database)


async def test_connection_whose_end_nobody_has_read_yet_is_not_used(
    database_url: str, admin: asyncpg.Connection, all_gone: Callable[[], Awaitable[None]]
) -> None:
    """On a busy event loop what the server has sent still waits in the socket."""
    async with Database(database_url, pool_size=1, application_name="under test") as database:
        (await driver_of(database))._transport.pause_reading()
        await end_connections(admin)
        await all_gone()

        await pid(database)


async def test_idle_sessions_that_time_out_cost_no_call(
    database_url: str, admin: asyncpg.Connection, all_gone: Callable[[], Awaitable[None]]
) -> None:
    await admin.execute(
        f"ALTER DATABASE \"{await admin.fetchval('SELECT current_database()')}\" SET idle_session_timeout = '250ms'"
    )
    async with Database(database_url, application_name="under test") as database:
        for _ in range(4):
            await pid(database)
            await all_gone()


async def test_statement_that_meets_a_goodbye_is_sent_on_another_connection(database_url: str) -> None:
    """Between the server's last words and the end of the connection pass some milliseconds."""
    async with Database(database_url, pool_size=1) as database:
        before = await pid(database)
        goodbye = b"E" + (len(GOODBYE) + 4).to_bytes(4, "big") + GOODBYE
        (await driver_of(database))._protocol.data_received(goodbye)

        assert await pid(database) != before


async def set_read_only(admin: asyncpg.Connection, *, is_on: bool) -> None:
    name = await admin.fetchval("SELECT current_database()")
    value = "SET default_transaction_read_only = on" if is_on else "RESET default_transaction_read_only"
    await admin.execute(f'ALTER DATABASE "{name}" {value}')


async def until(attempt: Callable[[], Awaitable[object]]) -> None:
    """Try until the database can be used."""
    async with asyncio.timeout(5):
        while True:
            with suppress(DatabaseUnavailableError):
                await attempt()
                return


async def test_read_only_database_is_unavailable_until_it_takes_writes_again(
    database: Database,
    admin: asyncpg.Connection,
    all_gone: Callable[[], Awaitable[None]],
    new_task: Callable[..., NewTask],
) -> None:
    """As after a failover to a standby, or where the disk of a managed database is full."""
    tasks = Tasks(database)
    await set_read_only(admin, is_on=True)
    await end_connections(admin)
    await all_gone()
    with pytest.raises(NotExecutedError, match="read-only") as caught:
        await tasks.create(new_task())
    with pytest.raises(DatabaseUnavailableError, match="read-only"):
        await database.require_writable()

    await set_read_only(admin, is_on=False)

    await until(lambda: tasks.create(new_task()))
    await until(database.require_writable)
    assert caught.value.sqlstate == "25006"


async def test_connections_that_take_no_writes_are_replaced_within_seconds(
    database: Database, new_task: Callable[..., NewTask]
) -> None:
    """The address leads to the new primary by now, the connections that are open to the old one."""
    read_only = sql("SELECT set_config('default_transaction_read_only', 'on', false), pg_sleep(0.1)")
    await asyncio.gather(*(database.fetch(read_only) for _ in range(POOL_SIZE)))

    await until(lambda: Tasks(database).create(new_task()))

    for _ in range(POOL_SIZE):
        await database.require_writable()


async def test_connection_is_replaced_after_an_error_that_nobody_knows(database: Database) -> None:
    before = {await pid(database) for _ in range(POOL_SIZE)}

    async with asyncio.timeout(20):
        while before & {await pid(database) for _ in range(POOL_SIZE)}:
            with pytest.raises(StoreError):
                await database.fetch(sql("SELECT no_such_function()"))


async def test_idle_connections_are_kept_alive(database: Database) -> None:
    sock = (await driver_of(database))._transport.get_extra_info("socket")

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
    lost_after = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * sock.getsockopt(
        socket.IPPROTO_TCP, socket.TCP_KEEPCNT
    )
    assert lost_after <= 60


class Proxy:
    """Passes bytes on between clients and a server, until it forgets the connections that there are."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers += [writer, back]
        self._pipes += [asyncio.create_task(self._pipe(reader, back)), asyncio.create_task(self._pipe(there, writer))]

    async def forget(self) -> None:
        """Pass nothing on any more, and tell nobody: as a NAT does, or a host that has lost its power."""
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        self._pipes.clear()

    async def aclose(self) -> None:
        await self.forget()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while received := await reader.read(65536):
                writer.write(received)
            writer.close()


async def test_half_open_connections_cost_one_deadline_together(database_url: str) -> None:
    url = make_url(database_url)
    proxy = Proxy(url.host or "", url.port or 5432)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    by_proxy = url.set(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    async with Database(by_proxy.render_as_string(hide_password=False), pool_size=4, deadline_seconds=1.5) as database:
        await asyncio.gather(*(database.fetch(sql("SELECT pg_sleep(0.1)")) for _ in range(4)))
        await proxy.forget()

        with pytest.raises(DatabaseUnavailableError):
            await pid(database)
        began = time.monotonic()
        await asyncio.gather(*(pid(database) for _ in range(4)))

        assert time.monotonic() - began < 1.5
    server.close()
    await proxy.aclose()
