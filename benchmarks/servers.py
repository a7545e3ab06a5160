"""The servers that all share: a PostgreSQL, a RabbitMQ and a Redis of this run's own, on free ports, synced to disk.

**Invariants**
- No other server of the machine is touched.
- Each `Space` is an empty database, virtual host and Redis, dropped at its end: no peer meets what another has left.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import psutil

from benchmarks.peer import Peer, PeerUnavailableError
from benchmarks.usage import cpu_seconds
from task_bus.testing import RabbitServer, start_server
from task_store.embedded import find_binaries, find_binaries_of
from task_store.testing import PrivatePostgres

SECONDS = 60.0
"""The longest that one answer of a server may take."""
LONG_SECONDS = 1_800.0
"""The same where a table is filled or vacuumed."""

_SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # so that no peer pays for the checkpoint that another has caused
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "none",  # but while the statements of idle processes are counted
}
_REDIS_SETTINGS = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction")
"""As Redis' documentation says for data that must survive a restart (persistence: AOF)."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Redis:
    """A private Redis server, if there is one on this machine."""

    def __init__(self) -> None:
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="task-benchmark-redis-"))
        self._program = shutil.which("redis-server") or "redis-server"
        words = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder), *_REDIS_SETTINGS]
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen([self._program, *words], stdout=output, stderr=output)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def version(self) -> str:
        """Its version, for the page."""
        said = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True).stdout
        return said.partition("v=")[2].partition(" ")[0]

    async def command(self, *words: str) -> str:
        """Send a command and return the first line of the answer, without its type."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(" ".join(words).encode() + b"\r\n")
            return (await asyncio.wait_for(reader.readline(), SECONDS)).decode().strip()[1:]
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def ready(self) -> None:
        """Return once it answers."""
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(OSError):
                    if await self.command("PING") == "PONG":
                        return
                await asyncio.sleep(0.05)

    def close(self) -> None:
        """Stop it and remove its files."""
        self._process.terminate()
        self._process.wait(SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True)
class Use:
    """What servers have used since they were started."""

    cpu_seconds: float
    commits: int
    wal_bytes: int


class Space:
    """An empty database, virtual host and Redis, for one peer."""

    def __init__(self, servers: Servers, database: str, vhost: str, connection: asyncpg.Connection) -> None:
        self._servers = servers
        self._database = database
        self._connection = connection
        self._own_commits = 0
        self.environment: Mapping[str, str] = {
            "BENCH_DATABASE_URL": servers.postgres.url(database),
            "BENCH_BROKER_URL": servers.rabbit.url(vhost),
            "BENCH_REDIS_URL": servers.redis.url if servers.redis else "",
        }

    async def count(self, query: str) -> int:
        """Return the number that an SQL query or a command of Redis answers; 0 where its table is not there yet."""
        if query.startswith("redis "):
            redis = self._servers.redis
            return int(await redis.command(*query.split()[1:])) if redis else 0
        self._own_commits += 1
        try:
            return int(await self._connection.fetchval(query))
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return 0

    @property
    def database_url(self) -> str:
        """Where the database is."""
        return self.environment["BENCH_DATABASE_URL"]

    async def execute(self, statement: str, *values: object) -> None:
        """Run a statement, however long it takes."""
        self._own_commits += 1
        await self._connection.execute(statement, *values, timeout=LONG_SECONDS)

    async def rows(self, query: str) -> list[asyncpg.Record]:
        """Return what an SQL query finds."""
        self._own_commits += 1
        found: list[asyncpg.Record] = await self._connection.fetch(query)
        return found

    @asynccontextmanager
    async def old_snapshot(self) -> AsyncIterator[None]:
        """Hold a transaction open in this block: no vacuum removes what dies in it."""
        connection = await asyncpg.connect(self.database_url, command_timeout=SECONDS)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.fetch("SELECT 1 FROM tasks LIMIT 1")  # the snapshot is taken by the first query
                yield
        finally:
            await connection.close(timeout=SECONDS)

    async def times(self, query: str) -> dict[str, float]:
        """Return what an SQL query for (id, seconds) finds."""
        return {str(key): float(seconds) for key, seconds in await self.rows(query) if seconds is not None}

    async def used(self) -> Use:
        """Return what the servers have used so far. Commits are exact only once all who commit have disconnected."""
        await self._connection.execute("SELECT pg_stat_force_next_flush()")  # of our own commits
        self._own_commits += 1
        asked = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1"
        commits = await self._servers.admin.fetchval(asked, self._database)
        wal = await self._servers.admin.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return Use(self._servers.cpu_seconds(), int(commits) - self._own_commits, int(wal))

    async def statements(self) -> int:
        """Return how many statements the database was sent while `counting_statements`."""
        asked = """SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
                    WHERE d.datname = $1"""
        return int(await self._servers.admin.fetchval(asked, self._database))

    @asynccontextmanager
    async def counting_statements(self) -> AsyncIterator[None]:
        """Have statements counted in this block."""
        await self._servers.set("pg_stat_statements.track", "top")
        try:
            yield
        finally:
            await self._servers.set("pg_stat_statements.track", "none")


class Servers:
    """Use as a context manager: what it starts is gone at the end of the block."""

    def __init__(self, postgres_major: int | None = None) -> None:
        binaries = find_binaries() if postgres_major is None else find_binaries_of(postgres_major)
        self.postgres = PrivatePostgres(binaries, settings=_SETTINGS, durable=True)
        self.rabbit: RabbitServer
        self.redis: Redis | None = None
        self.admin: asyncpg.Connection
        self._numbers = count(1)
        self._processes: list[psutil.Process] = []
        self._stack = AsyncExitStack()

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the servers, for the page."""
        found = {"PostgreSQL": self.postgres.binaries.version, "RabbitMQ": self.rabbit.ctl("version").strip()}
        return found | ({"Redis": self.redis.version} if self.redis else {})

    def check(self, peer: Peer) -> None:
        """Check that a peer can run on these servers.

        Raises:
            PeerUnavailableError: it cannot.

        """
        if self.postgres.binaries.major < peer.postgres_min:
            raise PeerUnavailableError(f"it wants PostgreSQL {peer.postgres_min} or newer")
        if "redis" in peer.needs and self.redis is None:
            raise PeerUnavailableError("redis-server is not installed")

    def cpu_seconds(self) -> float:
        """Return the processor time that the servers have used, in seconds."""
        return cpu_seconds(self._processes)

    async def set(self, name: str, value: str) -> None:
        """Change a setting of PostgreSQL, for connections that stand too."""
        await self.admin.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.admin.execute("SELECT pg_reload_conf()")

    @asynccontextmanager
    async def space(self) -> AsyncIterator[Space]:
        """Give an empty space, and drop it at the end of the block."""
        name = f"bench_{next(self._numbers)}"
        await self.admin.execute(f"CREATE DATABASE {name}")
        await asyncio.to_thread(self.rabbit.add_vhost, name)
        if self.redis is not None:
            await self.redis.command("FLUSHALL")
        connection = await asyncpg.connect(self.postgres.url(name), command_timeout=SECONDS)
        try:
            yield Space(self, name, name, connection)
        finally:
            await connection.close(timeout=SECONDS)
            await asyncio.to_thread(self.rabbit.delete_vhost, name)
            await self.admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await self.admin.execute("CHECKPOINT")  # what this peer has written is not on the next one's bill

    async def __aenter__(self) -> Servers:
        before = {process.pid for process in psutil.Process().children()}
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.postgres)
            self.rabbit = await asyncio.to_thread(start_server)
            stack.callback(self.rabbit.close)
            if shutil.which("redis-server"):
                self.redis = Redis()
                stack.callback(self.redis.close)
                await self.redis.ready()
            self.admin = await asyncpg.connect(self.postgres.url(), command_timeout=SECONDS)
            stack.push_async_callback(self.admin.close, timeout=SECONDS)
            await self.admin.execute("CREATE EXTENSION pg_stat_statements")
            self._processes = [one for one in psutil.Process().children() if one.pid not in before]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
