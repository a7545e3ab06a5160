"""How workers leave: on SIGTERM, on a second one, and one after the other under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.servers import Broker
from harness.waiting import eventually
from harness.world import LEASE_SECONDS, World
from task_contracts import TaskCreate
from task_store.testing import PrivatePostgres

LEASE_LOST = 75
END_SECONDS = 7.0
"""How long after its drain a worker has ended at the latest."""
PLACES = ("step.gate", "step.gate.thread", "step.gate.process")


@pytest.fixture
async def world(database_url: str, broker_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose processes end as they do everywhere, the interpreter's own end included."""
    async with World(database_url, broker_url, tmp_path, is_forked=False) as world:
        yield world


async def all_are_at_the_gate(world: World, tasks: int) -> None:
    await eventually(lambda: len(world.journal.notes()) == tasks, f"{tasks} handlers have begun")


async def steady_load(world: World, is_enough: asyncio.Event) -> None:
    while not is_enough.is_set():
        await world.insert([TaskCreate(name="load", type="step.pause", payload={"seconds": 0.05})] * 20)
        await asyncio.sleep(0.1)


async def test_a_worker_that_is_asked_to_stop_finishes_what_runs_and_takes_nothing_new(world: World) -> None:
    gate = world.gate()
    worker = await world.worker()
    running = await world.insert([TaskCreate(name=type_, type=type_, payload=gate.payload) for type_ in PLACES])
    await all_are_at_the_gate(world, len(PLACES))

    worker.terminate()
    await worker.logged("drain_began", running=len(PLACES))
    (late,) = await world.insert([TaskCreate(name="too late", type="step.noop")])
    gate.open()

    assert await worker.ended() == 0
    assert [(await world.tables.task(task_id))["status"] for task_id in running] == ["COMPLETED"] * len(PLACES)
    assert (await world.tables.task(late))["attempt"] == 0


async def test_a_second_sigterm_gives_running_tasks_back_at_once_and_uncounted(world: World) -> None:
    gate = world.gate()
    worker = await world.worker(TASK_WORKER_DRAIN_SECONDS="600")
    await world.insert([TaskCreate(name=type_, type=type_, payload=gate.payload) for type_ in PLACES])
    await all_are_at_the_gate(world, len(PLACES))

    worker.terminate()
    await worker.logged("drain_began")
    worker.terminate()

    assert await worker.ended() == 0
    rows = await world.tables.tasks()
    assert {(row["status"], row["attempt"], row["failures"], row["lost_count"]) for row in rows} == {
        ("PENDING", 1, 0, 0)
    }

    gate.open()
    await world.worker()
    await world.check()
    assert await world.tables.statuses() == {"COMPLETED": len(PLACES)}


async def test_the_drain_ends_at_its_deadline(world: World) -> None:
    worker = await world.worker(TASK_WORKER_DRAIN_SECONDS="0.5")
    await world.insert([TaskCreate(name="never done", type="step.gate", payload=world.gate().payload)])
    await all_are_at_the_gate(world, 1)

    assert await worker.stop() == 0
    assert await world.tables.statuses() == {"PENDING": 1}


async def test_a_thread_that_does_not_stop_ends_the_process_and_its_task_runs_again_uncounted(world: World) -> None:
    gate = world.gate()
    leaving = await world.worker(TASK_WORKER_DRAIN_SECONDS="0.2")
    await world.insert([TaskCreate(name="deaf", type="step.deaf", payload=gate.payload)])
    await all_are_at_the_gate(world, 1)
    await world.worker()

    assert await leaving.stop() == LEASE_LOST
    gate.open()

    await world.check()
    (row,) = await world.tables.tasks()
    assert (row["status"], row["attempt"], row["failures"], row["lost_count"]) == ("COMPLETED", 2, 0, 0)


async def test_a_rolling_restart_under_load_counts_no_failure_and_runs_nothing_twice(world: World) -> None:
    workers = list(await asyncio.gather(world.worker(), world.worker()))
    is_enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(steady_load(world, is_enough))
        for _ in range(3):
            workers.append(await world.worker())
            assert await workers.pop(0).stop() == 0
        is_enough.set()

    await world.check()
    rows = await world.tables.tasks()
    assert {(row["status"], row["attempt"], row["failures"]) for row in rows} == {("COMPLETED", 1, 0)}
    assert len(world.journal.notes()) == len(rows) > 100


@pytest.mark.parametrize("number", ["terminate", "interrupt"])
async def test_an_idle_worker_leaves_at_once_and_is_retired(world: World, number: str) -> None:
    worker = await world.worker()

    getattr(worker, number)()

    assert await worker.ended(seconds=LEASE_SECONDS) == 0
    (row,) = await world.tables.workers()
    assert row["dead_at"] is not None
    assert worker.family() == []


@pytest.mark.private_servers
@pytest.mark.alone
async def test_a_worker_ends_in_time_though_no_server_answers_and_a_thread_is_left(
    breakable_postgres: PrivatePostgres, breakable_broker: Broker, tmp_path: Path
) -> None:
    async with World(breakable_postgres.url(), breakable_broker.url, tmp_path, is_forked=False) as world:
        worker = await world.worker()
        await world.insert([TaskCreate(name="leftover", type="step.leftover")])
        await eventually(world.tables.are_all_ended, "the task has ended")
        breakable_postgres.pause()
        breakable_broker.pause()

        worker.terminate()
        await worker.logged("drain_ended")
        drained = time.monotonic()
        code = await worker.ended()

        assert time.monotonic() - drained < END_SECONDS
        assert code == 0
        breakable_postgres.resume()
