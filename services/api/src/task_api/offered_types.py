"""Tells metrics every few seconds which types live workers offer, and so whether the database answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import NoReturn, Protocol

from task_api.offers import Offers

_EVERY_SECONDS = 10.0


class ProcessMetrics(Protocol):
    """What the metrics of a process are told."""

    def offer(self, source: str, types: Iterable[str]) -> None:
        """Note which types live workers offer."""

    def watch_process(self, *, reaches_broker: Callable[[], bool], reaches_database: Callable[[], bool]) -> None:
        """Show what this process reaches."""


@asynccontextmanager
async def tell_metrics(
    metrics: ProcessMetrics | None, offers: Offers, *, reaches_broker: Callable[[], bool]
) -> AsyncIterator[None]:
    """Tell `metrics` as long as the block runs; nothing is asked where there are none.

    Args:
        metrics: who is told.
        offers: know which types live workers offer; they read on a connection that no load can keep busy.
        reaches_broker: whether this process reaches the broker.

    """
    if metrics is None:
        yield
        return
    metrics.watch_process(reaches_broker=reaches_broker, reaches_database=lambda: offers.reaches_database)
    telling = asyncio.create_task(_tell(metrics, offers))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait([telling])


async def tell_types(metrics: ProcessMetrics, offers: Offers) -> None:
    """Tell once which types live workers offer: those that were known before, where the database does not answer."""
    metrics.offer("fleet", await offers.live_types())


async def _tell(metrics: ProcessMetrics, offers: Offers) -> NoReturn:
    while True:
        await tell_types(metrics, offers)
        await asyncio.sleep(_EVERY_SECONDS)
