"""The database goes away and comes back: nothing hangs, nothing is lost, and nobody has to restart anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from harness.api import TASKS, Api
from harness.waiting import eventually
from harness.world import LEASE_SECONDS, World
from task_contracts import TaskCreate
from task_store.testing import PrivatePostgres

pytestmark = pytest.mark.private_servers

ANSWER_SECONDS = 5.0
RECOVERY_SECONDS = 5.0
UNKNOWN = "01a20f53-28ca-7641-997a-aacc58a0ba8f"
CALLS = [
    ("POST", TASKS, {"json": {"name": "a task"}}),
    ("GET", TASKS, {}),
    ("GET", f"{TASKS}/{UNKNOWN}", {}),
    ("GET", f"{TASKS}/{UNKNOWN}/status", {}),
    ("DELETE", f"{TASKS}/{UNKNOWN}", {}),
]


@pytest.fixture
async def world(breakable_postgres: PrivatePostgres, broker_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world on a database that the test may break."""
    async with World(breakable_postgres.url(), broker_url, tmp_path) as world:
        yield world


async def timed(api: Api, method: str, path: str, **options: object) -> tuple[httpx2.Response, float]:
    began = time.monotonic()
    answer = await api.http.request(method, path, **options)
    return answer, time.monotonic() - began


async def every_call_is_503_in_time(api: Api) -> float:
    """Return how long the slowest took. All at once, since they share what there is of connections."""
    answers = await asyncio.gather(*(timed(api, method, path, **options) for method, path, options in CALLS))
    for answer, seconds in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert seconds < ANSWER_SECONDS
    ready, _ = await api.health()
    live = await api.http.get("/health/live")
    assert (ready, live.status_code) == (503, 200)
    return max(seconds for _, seconds in answers)


async def checked(world: World, api: Api) -> int:
    """Return the exit code of the API's own check, as a container's health check runs it."""
    port = api.url.rsplit(":", 1)[1]
    return await world.start("task-api", "check", TASK_API_PORT=port).ended()


async def first_accepted(api: Api) -> float:
    """Return after how many seconds a task is accepted again."""
    began = time.monotonic()

    async def is_accepted() -> bool:
        return (await api.post(type="step.noop")).status_code == 201

    await eventually(is_accepted, "a task is accepted again", seconds=RECOVERY_SECONDS)
    return time.monotonic() - began


async def test_p1_with_the_database_down_callers_get_503_and_all_recovers_by_itself(
    world: World, breakable_postgres: PrivatePostgres, say: Callable[[str], None]
) -> None:
    gate = world.gate()
    api, worker = await asyncio.gather(world.api(), world.worker())
    running = await api.create(type="step.gate", payload=gate.payload)
    await api.reaches(running["id"], "IN_PROGRESS")
    await api.create_all([{"type": "step.noop"}] * 100)
    assert await checked(world, api) == 0

    await breakable_postgres.stop(immediate=True)
    slowest = await every_call_is_503_in_time(api)
    assert await checked(world, api) == 1
    await worker.logged("lease_over", seconds=2 * LEASE_SECONDS)
    await breakable_postgres.start()
    back = await first_accepted(api)
    gate.open()

    say(f"slowest 503 {slowest:.2f} s, database up to first 201 {back:.2f} s")
    await world.check()
    row = next(row for row in await world.tables.tasks() if str(row["id"]) == running["id"])
    assert (row["status"], row["attempt"], row["failures"], row["lost_count"]) == ("COMPLETED", 2, 0, 0)
    assert (api.process.exit_code, worker.exit_code) == (0, 0)


async def test_with_the_database_frozen_callers_get_503_and_all_recovers_by_itself(
    world: World, breakable_postgres: PrivatePostgres, say: Callable[[str], None]
) -> None:
    api, _ = await asyncio.gather(world.api(), world.worker())
    await api.create_all([{"type": "step.noop"}] * 20)

    breakable_postgres.pause()
    slowest = await every_call_is_503_in_time(api)
    breakable_postgres.resume()
    back = await first_accepted(api)

    say(f"slowest 503 {slowest:.2f} s, thawed to first 201 {back:.2f} s")
    await eventually(world.tables.are_all_ended, "every task has ended")
    left_over = {row["id"] for row in await world.tables.tasks()} - world.accepted.ids
    assert len(left_over) <= 1, "more than the one POST whose outcome was unknown"
    world.accepted.ids |= left_over
    await world.check()


async def test_p1_no_accepted_task_is_lost_when_the_database_is_killed_under_load(
    world: World, breakable_postgres: PrivatePostgres
) -> None:
    api, *_ = await asyncio.gather(world.api(), world.worker(), world.worker())
    unknown, is_enough = 0, asyncio.Event()

    async def caller() -> None:
        nonlocal unknown
        while not is_enough.is_set():
            answer = await api.post(type="step.pause", payload={"seconds": 0.01})
            assert answer.status_code in {201, 503}, answer.text
            unknown += answer.status_code == 503

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(caller())
        await eventually(lambda: len(world.accepted.ids) > 200, "there is load")
        await breakable_postgres.kill()
        await breakable_postgres.start()
        seen = len(world.accepted.ids)
        await eventually(lambda: len(world.accepted.ids) > seen + 200, "there is load again")
        is_enough.set()

    await world.settle()
    rows = await world.tables.tasks()
    strangers = {row["id"] for row in rows} - world.accepted.ids
    assert len(strangers) <= unknown, "what was answered 503 may have been stored; nothing else"
    world.accepted.ids |= strangers
    await world.check()
    assert {row["status"] for row in rows} == {"COMPLETED"}


async def test_processes_that_start_before_the_database_wait_for_it(
    world: World, breakable_postgres: PrivatePostgres
) -> None:
    await breakable_postgres.stop()
    processes = [world.start("task-api"), world.start("task-worker")]
    for process in processes:
        await process.logged("waiting_for_database")

    await breakable_postgres.start()
    await world.reach(processes[0])
    await processes[1].logged("worker_registered")
    await world.insert([TaskCreate(name="at last", type="step.noop")])
    await world.check()
