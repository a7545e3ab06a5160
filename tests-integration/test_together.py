"""Several processes of a kind, over the same servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from harness.api import Api, Json
from harness.servers import new_database
from harness.waiting import SECONDS, eventually
from harness.world import World
from task_bus.signals import open_signals
from task_contracts import SignalKind
from task_store.testing import PostgresServer

REPLICAS = 3


@pytest.mark.every_postgres
async def test_several_apis_start_at_once_on_an_empty_database(
    postgres_server: PostgresServer, broker_url: str, tmp_path: Path
) -> None:
    async with new_database(postgres_server, "for_replicas") as url, World(url, broker_url, tmp_path) as world:
        processes = [world.start("task-api") for _ in range(REPLICAS)]
        apis = [await world.reach(process) for process in processes]
        await world.worker()

        tasks = [await api.create(type="step.noop") for api in apis]
        for api, task in zip(apis, reversed(tasks), strict=True):
            await api.reaches(task["id"], "COMPLETED")
        await world.check()


@pytest.mark.every_postgres
async def test_two_workers_share_the_work(world: World) -> None:
    few = {"TASK_WORKER_CONCURRENCY": "5"}
    api, *workers = await asyncio.gather(world.api(), world.worker(**few), world.worker(**few))
    ids = await api.create_all([{"type": "step.pause", "payload": {"seconds": 0.02}}] * 300)
    await api.all_complete(ids)

    shares = [sum(note.pid == worker.pid for note in world.journal.notes()) for worker in workers]
    assert sum(shares) == len(ids)
    assert min(shares) > len(ids) / 5
    await world.check()


async def test_a_worker_serves_the_queues_that_it_is_told_to_and_health_names_those_without(world: World) -> None:
    queues = {"TASK_QUEUES": "default,reports"}
    api, _ = await asyncio.gather(world.api(**queues), world.worker(**queues, TASK_WORKER_QUEUES="default"))
    for_nobody = await api.create(type="step.noop", queue="reports")
    ours = await api.create_all([{"type": "step.noop"}] * 20)
    await api.all_complete(ours)

    code, body = await api.health()
    assert (code, body["status"]) == (200, "degraded")
    assert "reports" in body["checks"]["workers"]["detail"]
    assert (await api.get(for_nobody["id"]))["status"] == "NEW"

    other = await world.worker(**queues, TASK_WORKER_QUEUES="reports")
    await api.reaches(for_nobody["id"], "COMPLETED")
    assert [note.pid for note in world.journal.notes()[len(ours) :]] == [other.pid]
    await eventually(lambda: _is_well(api), "every queue is served")
    await world.check()


async def _is_well(api: Api) -> bool:
    return (await api.health())[1]["status"] == "ok"


@pytest.fixture
async def heard(world: World) -> AsyncIterator[Counter[UUID]]:
    """How often whoever listens hears of each task."""
    counts: Counter[UUID] = Counter()
    async with open_signals(world.broker_url or "", name="test") as signals:
        await signals.listen({SignalKind.CHANGED}, lambda signal: counts.update(signal.ids))
        await signals.wait_connected(SECONDS)
        yield counts


@pytest.mark.parametrize("is_standalone", [False, True], ids=["apart", "standalone"])
async def test_whoever_listens_hears_of_each_change_whichever_process_makes_it(
    world: World, heard: Counter[UUID], is_standalone: bool
) -> None:
    if is_standalone:
        api = await world.service()
    else:
        api, worker = await asyncio.gather(world.api(), world.worker())
        await worker.logged("broker_connected", connection="task-worker-signals sending signals")
    await eventually(lambda: _is_well(api), "it can send signals")

    async def hears(task: Json, times: int, what: str) -> None:
        await eventually(lambda: heard[UUID(task["id"])] == times, what)

    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    later = await api.create(type="step.noop", run_at=tomorrow)
    await hears(later, 1, "it is created")
    await api.cancel(later["id"])
    await hears(later, 2, "it is cancelled")

    gate = world.gate()
    task = await api.create(type="step.gate", payload=gate.payload)
    # The service sends what its API and its worker change as one: the claim may travel with the creation.
    await eventually(lambda: heard[UUID(task["id"])] >= (1 if is_standalone else 2), "it is created and claimed")
    await api.reaches(task["id"], "IN_PROGRESS")
    before = heard[UUID(task["id"])]
    gate.open()
    await eventually(lambda: heard[UUID(task["id"])] > before, "it ends")
    await world.check()
