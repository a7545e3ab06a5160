"""What both rings use: a PostgreSQL, no settings of the machine, and the application made of given parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest

from task_api.access.access import open_access
from task_api.app import create_app
from task_api.deadlines import DEADLINES, Deadlines
from task_api.offers import Offers
from task_api.parts import ApiParts
from task_api.settings import ApiSettings
from task_api.watch.watch import Watch
from task_bus.signals import MemoryHub, open_signals
from task_runtime.testing import plain_environment  # noqa: F401 # a fixture
from task_store import Activities, Changes, Database, LiveWorkers, Tasks

pytest_plugins = ["task_store.testing"]

OpenParts = Callable[..., AbstractAsyncContextManager[ApiParts]]


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[None]]:
    """Wait until a condition holds, by asking again and again."""

    async def wait(condition: Callable[[], Awaitable[Any]]) -> None:
        async with asyncio.timeout(30):
            while True:
                if await condition():
                    return
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def open_parts() -> OpenParts:
    """Open the parts of an application on a database; any setting and the deadlines can be given."""

    @asynccontextmanager
    async def opened(
        database_url: str, hub: MemoryHub | None = None, *, deadlines: Deadlines = DEADLINES, **given: Any
    ) -> AsyncIterator[ApiParts]:
        given = {"broker_url": "memory://", "queues": ("default", "reports"), **given}
        settings = ApiSettings(database_url=database_url, **given)
        stop = asyncio.Event()
        async with (
            open_signals("memory://", name="test", hub=hub or MemoryHub()) as signals,
            Database(database_url) as database,
            Database(database_url, pool_size=1) as health,
            Watch(Changes(database), signals, stop) as watch,
            Offers(LiveWorkers(health)) as offers,
            open_access(settings, database, signals) as access,
        ):
            tasks, activities = Tasks(database), Activities(database)
            yield ApiParts(
                settings,
                tasks,
                activities,
                health,
                signals,
                watch,
                database,
                offers,
                stop,
                deadlines,
                access=access,
            )

    return opened


@pytest.fixture(scope="session")
def open_client() -> Callable[[ApiParts], httpx2.AsyncClient]:
    """Open a client of the application made of these parts."""
    return lambda parts: httpx2.AsyncClient(
        transport=httpx2.ASGITransport(create_app(parts)), base_url="http://test", timeout=30
    )
