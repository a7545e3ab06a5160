"""What a worker and the leader do to a task is told, so that whoever waits for it reads it again."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from task_bus.signals import Signals
from task_contracts import SignalKind
from task_store.testing import Table
from task_worker import Context, handler


@pytest.fixture
async def heard(signals: Signals) -> Counter[UUID]:
    """How often each id was heard, from now on."""
    counts: Counter[UUID] = Counter()
    await signals.listen({SignalKind.CHANGED}, lambda signal: counts.update(signal.ids))
    return counts


async def test_claim_progress_and_end_of_a_task_are_told_as_they_happen(
    start: Any, create: Any, ended: Any, until: Any, heard: Counter[UUID]
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    @handler("watched")
    async def watched(context: Context) -> None:
        began.set()
        await go_on.wait()
        context.progress(50)
        go_on.clear()
        await go_on.wait()

    await start(watched)
    task = await create("watched")

    await began.wait()
    await until(lambda: heard[task.id] == 1)
    go_on.set()
    await until(lambda: heard[task.id] == 2)
    go_on.set()
    await ended(task.id)
    await until(lambda: heard[task.id] == 3)


async def test_what_the_sweep_brings_to_an_end_is_told(
    start: Any, table: Table, ended: Any, until: Any, heard: Counter[UUID]
) -> None:
    lost = await table.running(await table.dead_worker(), cancel_requested_at=timedelta(seconds=-5))

    await start()

    assert (await ended(lost))["status"] == "CANCELLED"
    await until(lambda: heard[lost] == 1)


async def test_what_the_leader_rejects_is_told(
    start: Any, table: Table, ended: Any, until: Any, heard: Counter[UUID]
) -> None:
    unknown = await table.put(type="misspelt", due_at=timedelta(minutes=-5))

    await start()

    assert (await ended(unknown))["status"] == "FAILED"
    await until(lambda: heard[unknown] == 1)


async def test_what_a_drain_releases_is_told(
    start: Any, create: Any, until: Any, table: Table, heard: Counter[UUID]
) -> None:
    began = asyncio.Event()

    @handler("endless")
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    worker = await start(endless)
    task = await create("endless")
    await began.wait()

    await worker.finish(hurry=True)

    assert await table.status(task.id) == "PENDING"
    await until(lambda: heard[task.id] == 2)
