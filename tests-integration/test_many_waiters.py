"""A thousand callers that wait and a thousand streams, at one API: no statement of theirs, little memory, all told."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psutil
import pytest

from harness.api import TASKS, Api
from harness.world import World
from task_contracts import TaskCreate

MANY = 1_000
FILES = 5_000
IDLE_SECONDS = 5


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process and those that it starts open more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Waiting:
    """One raw connection with a request whose answer is awaited."""

    def __init__(self, api: Api, path: str, *headers: str) -> None:
        self._address = api.url.removeprefix("http://").split(":")
        self._request = "\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()
        self._heard = b""

    async def ask(self) -> None:
        host, port = self._address
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._writer.write(self._request)

    async def ends(self) -> bool:
        """Wait for the news that the task is COMPLETED."""
        while b"COMPLETED" not in self._heard:
            heard = await self._reader.read(65_536)
            if not heard:
                return False
            self._heard += heard
        self._writer.close()
        return True


async def commits(world: World) -> int:
    (row,) = await world.tables.rows("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(row["xact_commit"])


async def test_a_thousand_who_wait_and_a_thousand_streams(many_files: None, world: World) -> None:
    api = await world.api()
    later = datetime.now(UTC) + timedelta(hours=1)
    ids: list[UUID] = await world.insert([TaskCreate(name="a task", run_at=later)] * (2 * MANY))
    before = psutil.Process(api.process.pid).memory_info().rss
    waiting = [Waiting(api, f"{TASKS}/{one}/status", "Prefer: wait=60") for one in ids[:MANY]]
    waiting += [Waiting(api, f"{TASKS}/{one}/events") for one in ids[MANY:]]
    for first in range(0, len(waiting), 100):
        await asyncio.gather(*(one.ask() for one in waiting[first : first + 100]))
    await settled(world)

    begun = await commits(world)
    await asyncio.sleep(IDLE_SECONDS)
    statements = (await commits(world) - begun) / IDLE_SECONDS
    grown = psutil.Process(api.process.pid).memory_info().rss - before
    await world.worker()
    await world.tables.rows("UPDATE tasks SET due_at = now()")
    told: list[Any] = await asyncio.wait_for(asyncio.gather(*(one.ends() for one in waiting)), 60)

    assert all(told)
    assert statements < 20, "a statement for each of them would be thousands"
    assert grown < 200 << 20


async def settled(world: World) -> None:
    """Wait until all have been read for the first time."""
    while True:
        begun = await commits(world)
        await asyncio.sleep(1)
        if await commits(world) - begun < 20:
            return
