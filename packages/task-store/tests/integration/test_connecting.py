"""One URL, one answer: what libpq's parameters do, and what can never be used is one line for the operator, at once."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from task_store import Database, DatabaseUnavailableError, UnusableDatabaseError, open_engine
from task_store._address import DatabaseAddress
from task_store._connecting import connector
from task_store._statements.statement import Statement
from task_store.testing import PostgresServer


def changed(url: str, **parts: str) -> str:
    """Return the URL with another host, port, user, password, database or query."""
    given = urlsplit(url)
    found = {"user": given.username, "password": given.password, "host": given.hostname, "port": given.port, **parts}
    place = f"{found['user']}:{found['password']}@{found['host']}:{found['port']}"
    database = parts.get("database", given.path.removeprefix("/"))
    return f"postgresql://{place}/{database}?{parts.get('query', '')}"


async def advice_for(url: str) -> str:
    """Return the line with which the store refuses a database, and the engine of the migrations in the same words."""
    password = urlsplit(url).password or ""
    async with Database(url) as database:
        with pytest.raises(UnusableDatabaseError) as caught:
            async with asyncio.timeout(20):
                await database.wait_for_revision(60)
    engine = open_engine(url)
    with pytest.raises(UnusableDatabaseError) as again:
        async with engine.connect():
            pass
    await engine.dispose()
    assert again.value.advice == caught.value.advice
    assert "\n" not in caught.value.advice
    assert password not in f"{caught.value} {caught.value.advice}"
    assert (urlsplit(url).hostname or "") not in str(caught.value), "callers may see this text"
    return caught.value.advice


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"password": "hunter2"}, "the password is wrong or not escaped (@ as %40"),
        ({"user": "nobody_of_this_name"}, "or there is no such role"),
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
        ({"host": "no-such-host.invalid"}, "there is no host of this name"),
        ({"query": "options=-c%20no_such_setting%3D1"}, 'unrecognized configuration parameter "no_such_setting"'),
        ({"query": "options=-c%20shared_buffers%3D1"}, 'parameter "shared_buffers" cannot be changed'),
        ({"query": "sslmode=perhaps"}, "`sslmode` parameter must be one of"),
        ({"query": "sslmode=require"}, "the server has no TLS"),
    ],
)
async def test_what_can_never_be_used_is_one_line_with_the_likely_mistake_at_once(
    parts: dict[str, str], words: str, postgres_server: PostgresServer
) -> None:
    url = changed(postgres_server.url(), **parts)

    line = await advice_for(url)

    given = urlsplit(url)
    named = f"host {given.hostname}, port {given.port}, database {given.path[1:]}, user {given.username}: "
    assert line.startswith(named)
    assert words in line


async def test_a_role_that_may_not_connect_is_told_so(postgres_server: PostgresServer, database_url: str) -> None:
    name = urlsplit(database_url).path[1:]
    connection = await asyncpg.connect(postgres_server.url(), timeout=20)
    await connection.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    await connection.execute("DROP ROLE IF EXISTS outsider")
    await connection.execute("CREATE ROLE outsider LOGIN PASSWORD 'hush'")

    line = await advice_for(changed(database_url, user="outsider", password="hush"))
    await connection.execute("DROP ROLE outsider")
    await connection.close()

    assert line.endswith(f'permission denied for database "{name}"')


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_is_not_utf8_is_refused_before_anything_is_written(
    encoding: str, postgres_server: PostgresServer
) -> None:
    name = f"other_{encoding.lower()}"
    connection = await asyncpg.connect(postgres_server.url(), timeout=20)
    await connection.execute(f"DROP DATABASE IF EXISTS {name}")
    await connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")

    line = await advice_for(changed(postgres_server.url(), database=name))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()

    assert f"its encoding is {encoding}: create one with ENCODING 'UTF8'" in line


async def test_what_the_url_asks_of_the_server_holds_and_our_timeouts_too(postgres_server: PostgresServer) -> None:
    asked = f"application_name=mine&options={quote('-c work_mem=5MB -c statement_timeout=1')}&channel_binding=prefer"
    query = Statement(
        text(
            "SELECT current_setting('application_name') AS name, current_setting('work_mem') AS memory,"
            " current_setting('statement_timeout') AS timeout"
        )
    )
    async with Database(changed(postgres_server.url(), query=asked), application_name="ours") as database:
        (row,) = await database.fetch(query)

    assert dict(row) == {"name": "mine", "memory": "5MB", "timeout": "2700ms"}


async def test_keepalives_reach_the_socket(postgres_server: PostgresServer) -> None:
    url = changed(postgres_server.url(), query="keepalives_idle=31&keepalives_count=4")

    connection = await connector(DatabaseAddress.parse(url), connect_seconds=20)()
    opened: Any = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)]
    found = [opened.getsockopt(*option) for option in [*options, (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)]]
    await connection.close()

    assert found == [1, 31, 4]


async def test_of_several_hosts_the_one_that_is_asked_for_is_used(postgres_server: PostgresServer) -> None:
    given = urlsplit(postgres_server.url())
    hosts = f"{given.username}:{given.password}@127.0.0.1:1,127.0.0.1:{given.port}"
    async with Database(f"postgresql://{hosts}{given.path}?target_session_attrs=read-write") as database:
        found = await database.facts()
    async with Database(f"postgresql://{hosts}{given.path}?target_session_attrs=standby") as standby:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await standby.facts()

    assert found.max_connections > 0
    assert not isinstance(caught.value, UnusableDatabaseError), "a failover may make one of it"


async def test_a_database_that_refuses_connections_is_waited_for_and_named(caplog: pytest.LogCaptureFixture) -> None:
    async with Database("postgresql://me:hunter2@127.0.0.1:1/tasks") as database:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await database.wait_for_revision(1)

    waits = [record for record in caplog.records if record.getMessage() == "waiting_for_database"]
    assert not isinstance(caught.value, UnusableDatabaseError)
    assert {record.__dict__["database"] for record in waits} == {"host 127.0.0.1, port 1, database tasks, user me"}
