"""RabbitMQ goes away, comes back, or forgets everything: tasks are accepted and run all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.api import Api
from harness.servers import Broker
from harness.waiting import eventually
from harness.world import World

pytestmark = pytest.mark.private_servers

PRIORITIES = ("HIGH", "MEDIUM", "LOW")


@pytest.fixture
async def world(database_url: str, breakable_broker: Broker, tmp_path: Path) -> AsyncIterator[World]:
    """A world on a broker that the test may break."""
    async with World(database_url, breakable_broker.url, tmp_path) as world:
        yield world


def some_tasks(number: int) -> list[dict[str, object]]:
    return [{"type": "step.noop", "priority": PRIORITIES[turn % 3]} for turn in range(number)]


async def shows_broker(api: Api, status: str) -> None:
    async def is_so() -> bool:
        code, body = await api.health()
        assert code == 200, body
        return body["checks"]["broker"]["status"] == status

    await eventually(is_so, f"the API's health shows the broker as {status}")


async def reaches_broker(world: World) -> None:
    async def is_so() -> bool:
        return all(row["reaches_broker"] for row in await world.tables.workers())

    await eventually(is_so, "the workers reach the broker")


@pytest.mark.alone
async def test_p6_tasks_are_accepted_and_run_while_rabbitmq_is_down_and_it_is_used_once_it_is_there(
    world: World, breakable_broker: Broker
) -> None:
    await breakable_broker.stop()
    api, worker = await asyncio.gather(world.api(), world.worker())
    await shows_broker(api, "degraded")
    await api.all_complete(await api.create_all(some_tasks(100)))

    await breakable_broker.start()
    await shows_broker(api, "ok")
    await reaches_broker(world)
    by_poll = len(worker.events("claimed_by_poll"))
    for _ in range(5):  # not all at once: on a slow machine the last would be overdue, and the poll's by right
        await api.all_complete(await api.create_all(some_tasks(20)))

    assert by_poll > 0
    assert len(worker.events("claimed_by_poll")) == by_poll
    await world.check()


async def test_p6_tasks_are_accepted_and_run_when_rabbitmq_is_killed_in_the_middle(
    world: World, breakable_broker: Broker
) -> None:
    gate = world.gate()
    api, _ = await asyncio.gather(world.api(), world.worker(TASK_WORKER_CONCURRENCY="4"))
    running = await api.create_all([{"type": "step.gate", "payload": gate.payload}] * 4)
    await eventually(lambda: len(world.journal.notes()) == 4, "every slot is taken")
    queued = await api.create_all(some_tasks(200))

    await breakable_broker.kill()
    await shows_broker(api, "degraded")
    late = await api.create_all(some_tasks(100))
    gate.open()

    done = await api.all_complete([*running, *queued, *late])
    assert {task["attempt"] for task in done} == {1}
    await breakable_broker.start()
    await shows_broker(api, "ok")
    await world.check()


async def test_p1_a_wiped_broker_costs_no_task(world: World, breakable_broker: Broker) -> None:
    gate = world.gate()
    api, _ = await asyncio.gather(world.api(), world.worker(TASK_WORKER_CONCURRENCY="4"))
    running = await api.create_all([{"type": "step.gate", "payload": gate.payload}] * 4)
    await eventually(lambda: len(world.journal.notes()) == 4, "every slot is taken")
    queued = await api.create_all(some_tasks(300))

    async def are_dispatched() -> bool:
        return (await world.tables.statuses())["PENDING"] == len(queued)

    await eventually(are_dispatched, "all are dispatched")
    await breakable_broker.wipe()
    gate.open()

    done = await api.all_complete([*running, *queued])
    assert {task["attempt"] for task in done} == {1}
    await world.check()
