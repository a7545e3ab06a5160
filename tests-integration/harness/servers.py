"""Servers and databases of a test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil

from task_bus.testing import RabbitServer
from task_store.testing import PostgresServer

_SECONDS = 20.0
_PROGRAMS = {"initdb", "postgres"}


def servers_on(folder: Path) -> list[psutil.Process]:
    """Return the programs of PostgreSQL whose files are in a folder."""
    running = psutil.process_iter(["name", "cmdline"])
    return [p for p in running if p.info["name"] in _PROGRAMS and str(folder) in " ".join(p.info["cmdline"] or [])]


def end_servers_on(folder: Path) -> list[psutil.Process]:
    """Kill them, and return those that there were."""
    left = servers_on(folder)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=_SECONDS)
    return left


@asynccontextmanager
async def new_database(server: PostgresServer, name: str) -> AsyncIterator[str]:
    """Give the URL of an empty database, without the schema; it is dropped at the end of the block."""
    connection = await asyncpg.connect(server.url(), timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield server.url(name)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close(timeout=_SECONDS)


class Broker:
    """A virtual host of a RabbitMQ that the test may break. `mend` repairs it after the test."""

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        self._server = server
        self._is_down = False
        self._is_frozen = False
        self.vhost = vhost

    @property
    def url(self) -> str:
        """Where it is: the same over every stop and start."""
        return self._server.url(self.vhost)

    async def stop(self) -> None:
        """Stop it in an orderly way."""
        self._is_down = True
        await asyncio.to_thread(self._server.stop)

    async def kill(self) -> None:
        """End it as kill -9 does."""
        # RabbitMQ saves the metadata of a new quorum queue within seconds. Killed before that, 3.10 finds the queue
        # again but never elects a leader for it. The queues of a test are that new, so have the metadata saved.
        await self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self._is_down = True
        await asyncio.to_thread(self._server.kill)

    async def start(self) -> None:
        """Start it again, with what it kept."""
        await asyncio.to_thread(self._server.start)
        self._is_down = False

    async def wipe(self) -> None:
        """Forget everything in it: exchanges, queues, messages, connections."""
        await asyncio.to_thread(self._server.delete_vhost, self.vhost)
        await asyncio.to_thread(self._server.add_vhost, self.vhost)

    def pause(self) -> None:
        """Freeze it."""
        self._is_frozen = True
        self._server.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._server.resume()
        self._is_frozen = False

    async def is_empty(self) -> bool:
        """Return whether no queue holds a message, delivered ones that are not settled included."""
        listed = await self.ctl("list_queues", "--vhost", self.vhost, "--quiet", "--no-table-headers", "messages")
        return not any(int(line) for line in listed.split())

    async def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl."""
        return await asyncio.to_thread(self._server.ctl, *arguments)

    async def mend(self) -> None:
        """See that it runs."""
        if self._is_frozen:
            self.resume()
        if self._is_down:
            await self.start()
