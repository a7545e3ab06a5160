"""Fixtures for both rings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from task_bus import BrokerQueue
from task_contracts import Priority
from task_contracts.testing import an_id

pytest_plugins = ["task_bus.testing"]

DEADLINE_SECONDS = 20


class Inbox:
    """A callback for `consume` or `listen`. It keeps what it gets, and tests wait for the next."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()
        self.seen: list[Any] = []

    def __call__(self, item: Any) -> None:
        self.seen.append(item)
        self._arrived.put_nowait(item)

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._arrived.get()

    async def take(self, number: int) -> list[Any]:
        return [await self.next() for _ in range(number)]

    @property
    def is_empty(self) -> bool:
        return self._arrived.empty()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def another_inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]:
    """Wait until an async question, which crosses the network, is answered with something true."""

    async def ask_until_true(question: Callable[[], Awaitable[object]], seconds: float = DEADLINE_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not await question():  # noqa: ASYNC110 # what it asks about is in another process
                await asyncio.sleep(0.02)

    return ask_until_true


@pytest.fixture
def high() -> BrokerQueue:
    return BrokerQueue("default", Priority.HIGH)


@pytest.fixture
def low() -> BrokerQueue:
    return BrokerQueue("default", Priority.LOW)


@pytest.fixture
def some_ids() -> Callable[[int], list[tuple[UUID, ...]]]:
    """Make the ids of so many messages, one id in each."""
    return lambda number: [(an_id(),) for _ in range(number)]
