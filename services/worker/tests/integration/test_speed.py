"""That nothing in the way of a task holds it up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from task_contracts import Task
from task_worker import handler

Create = Callable[..., Awaitable[Task]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]


async def test_no_worker_sits_on_what_others_could_run(start: Start, create: Create, table: Any, until: Until) -> None:
    """Told by how many each ran, not by the clock: one that hoards runs more than its share."""

    @handler("t")
    async def run() -> None:
        await asyncio.sleep(0.2)

    async def all_completed() -> bool:
        return not await table.count("NEW", "PENDING", "IN_PROGRESS")

    for _ in range(4):
        await start(run, concurrency=10)
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    await asyncio.gather(*(create("t", run_at=due) for _ in range(200)))
    await until(all_completed)

    shares = await table.fetch("SELECT count(*) AS ran FROM tasks GROUP BY worker_id")
    assert len(shares) == 4
    assert max(share["ran"] for share in shares) <= 1.5 * 200 / 4
