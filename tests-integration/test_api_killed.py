"""The API is killed again and again while callers create and wait: each task is there once, and all is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from harness.api import Api
from harness.world import World
from task_client import AsyncTaskClient, Task, TaskClient

MANY = 1_000
KEYS = 600
BETWEEN_KILLS_SECONDS = 0.7


@asynccontextmanager
async def killed_often(world: World, api: Api, kills: Callable[[int], bool]) -> AsyncIterator[list[int]]:
    """Kill the API and start another at its address, as long as `kills` of those so far says so."""
    port, done = str(urlsplit(api.url).port), [0]

    async def kill() -> None:
        process = api.process
        while kills(done[0]):
            await asyncio.sleep(BETWEEN_KILLS_SECONDS)
            process.kill()
            await process.ended()
            done[0] += 1
            process = world.start("task-api", TASK_API_PORT=port)
            await process.logged("listening")

    killing = asyncio.create_task(kill())
    try:
        yield done
        await killing
    finally:
        killing.cancel()


async def test_a_script_that_creates_and_waits_has_created_exactly_its_tasks(world: World) -> None:
    api = await world.api()
    await world.worker()
    await world.worker()

    def script() -> list[Task]:
        with TaskClient(api.url) as client:
            tasks = client.create_many({"name": f"page {n}", "payload": {"n": n}} for n in range(MANY))
            return list(client.as_completed(tasks))

    async with killed_often(world, api, lambda done: done < 2):
        ended = await asyncio.to_thread(script)

    assert sorted(task.result["n"] for task in ended) == list(range(MANY))
    assert await world.tables.statuses() == {"COMPLETED": MANY}
    assert await world.tables.attempts() == []


async def test_each_key_is_one_task(world: World) -> None:
    api = await world.api()
    left = [*range(KEYS)]
    sent: set[int] = set()

    async def send(client: AsyncTaskClient) -> None:
        while left:
            number = left.pop()
            await client.create(name="a task", type="idle", payload={"n": number}, key=f"order-{number}")
            sent.add(number)
            await asyncio.sleep(0.05)

    async with killed_often(world, api, lambda _: bool(left)) as kills, AsyncTaskClient(api.url) as client:
        await asyncio.gather(*(send(client) for _ in range(8)))

    rows = await world.tables.tasks()
    assert kills[0] > 0
    assert sent == set(range(KEYS))
    assert sorted(row["idempotency_key"] for row in rows) == sorted(f"order-{number}" for number in range(KEYS))
