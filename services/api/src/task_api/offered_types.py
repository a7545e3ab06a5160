"""Asks every few seconds which types live workers offer, for labels of metrics, and so whether the database answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Protocol

from task_store import Database, StoreError, Workers

_EVERY_SECONDS = 10.0


class ProcessMetrics(Protocol):
    """What the metrics of a process are told."""

    def offer(self, source: str, types: Iterable[str]) -> None:
        """Note which types live workers offer."""

    def watch_process(self, *, reaches_broker: Callable[[], bool], reaches_database: Callable[[], bool]) -> None:
        """Show what this process reaches."""


@asynccontextmanager
async def tell_metrics(
    metrics: ProcessMetrics | None, database: Database, *, reaches_broker: Callable[[], bool]
) -> AsyncIterator[None]:
    """Tell `metrics` as long as the block runs; nothing is asked where there are none.

    Args:
        metrics: who is told.
        database: the connection of the health checks, which no load can keep busy.
        reaches_broker: whether this process reaches the broker.

    """
    if metrics is None:
        yield
        return
    offered = OfferedTypes(metrics, Workers(database))
    metrics.watch_process(reaches_broker=reaches_broker, reaches_database=lambda: offered.reaches_database)
    asking = asyncio.create_task(offered.run())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait([asking])


class OfferedTypes:
    """Asks for ever. What is not answered leaves the types as they were."""

    def __init__(self, metrics: ProcessMetrics, workers: Workers) -> None:
        self._metrics = metrics
        self._workers = workers
        self.reaches_database = False
        """Whether the database answered the last time."""

    async def run(self) -> None:
        """Ask every ten seconds."""
        while True:
            await self.ask()
            await asyncio.sleep(_EVERY_SECONDS)

    async def ask(self) -> None:
        """Ask once."""
        try:
            offers = await self._workers.live_offers()
        except StoreError:
            self.reaches_database = False
        else:
            self.reaches_database = True
            self._metrics.offer("fleet", chain.from_iterable(offers.types_by_queue.values()))
