"""Workers and APIs are killed and frozen: what ran, runs again; what had ended, does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import httpx2
import pytest

from harness.api import Api
from harness.servers import Broker
from harness.waiting import eventually
from harness.world import LEASE_SECONDS, World

SWEEP_SECONDS = LEASE_SECONDS / 6
RESCUE_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + 2
PLACES = ("step.gate", "step.gate.thread", "step.gate.process")


async def are_steady(world: World) -> bool:
    steady = "SELECT steady_since < statement_timestamp() - $1 * interval '1 second' AS is_so FROM workers"
    return all(row["is_so"] for row in await world.tables.rows(steady, LEASE_SECONDS))


async def is_silent(api: Api, task_id: UUID) -> bool:
    return bool((await api.get(f"{task_id}/explain"))["reason"] == "worker_silent")


async def post_until_it_breaks(api: Api) -> None:
    with suppress(httpx2.TransportError):
        while True:
            await api.create(type="step.noop")


@pytest.mark.alone
async def test_the_tasks_of_a_killed_worker_run_again_in_time_and_completed_ones_never(
    world: World, say: Callable[[str], None]
) -> None:
    gate = world.gate()
    api, doomed = await asyncio.gather(world.api(), world.worker())
    completed = await api.create_all([{"type": "step.noop"}] * 50)
    await api.all_complete(completed)
    running = await api.create_all([{"type": type_, "payload": gate.payload} for type_ in PLACES])
    await eventually(lambda: len(world.journal.notes()) == 50 + len(PLACES), "all of them run")
    children = doomed.family()
    survivor = await world.worker()
    await eventually(lambda: are_steady(world), "both have ticked for a lease, so that they may declare deaths")

    (clock,) = await world.tables.rows("SELECT clock_timestamp() AS now")
    doomed.kill()
    await eventually(
        lambda: is_silent(api, running[0]), "its silence is seen before its lease is over", seconds=LEASE_SECONDS
    )
    await survivor.logged("worker_lost", host=socket.gethostname(), pid=doomed.pid)
    await eventually(lambda: all(len(world.journal.of(one)) == 2 for one in running), "they run again")
    gate.open()

    rows = [await world.tables.task(one) for one in running]
    again = (max(row["started_at"] for row in rows) - clock["now"]).total_seconds()
    say(f"worker killed to its tasks claimed again: {again:.2f} s (lease {LEASE_SECONDS:g} s)")
    assert again <= RESCUE_SECONDS
    assert not [child for child in children if child.is_running()]
    done = await api.all_complete(running)
    assert {(task["attempt"], task["failures"], task["lost_count"]) for task in done} == {(2, 0, 1)}
    assert all(len(world.journal.of(one)) == 1 for one in completed)
    await world.check()


async def test_p1_no_accepted_task_is_lost_when_the_api_is_killed_under_load(world: World) -> None:
    doomed, other, _ = await asyncio.gather(world.api(), world.api(), world.worker())

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(post_until_it_breaks(doomed)) for _ in range(8)]
        await eventually(lambda: len(world.accepted.ids) > 200, "there is load")
        doomed.process.kill()
        await asyncio.wait(callers)

    await other.create()
    await world.settle()
    strangers = {row["id"] for row in await world.tables.tasks()} - world.accepted.ids
    assert len(strangers) <= len(callers), "stored, and killed before the answer"
    world.accepted.ids |= strangers
    await world.check()


@pytest.mark.private_servers
class TestFrozenWorker:
    """On a broker whose books can be read."""

    @pytest.fixture
    def broker_url(self, breakable_broker: Broker) -> str:
        return breakable_broker.url

    async def test_p3_a_worker_that_was_taken_for_dead_changes_nothing_when_it_comes_back(
        self, world: World, breakable_broker: Broker
    ) -> None:
        gate = world.gate()
        api, frozen = await asyncio.gather(world.api(), world.worker())
        task = await api.create(type="step.gate", payload=gate.payload)
        await eventually(lambda: world.journal.notes(), "it runs")
        await world.worker()

        frozen.pause()
        await eventually(lambda: len(world.journal.of(UUID(task["id"]))) == 2, "another worker runs it")
        gate.open()
        second = await api.reaches(task["id"], "COMPLETED")
        frozen.resume()
        await frozen.logged("worker_registered", times=2)

        assert await api.get(task["id"]) == second
        # What had been delivered to the frozen one may still be in its hands, where the checker cannot see it.
        await eventually(breakable_broker.is_empty, "it has settled all that was delivered to it")
        await world.check()
        row = await world.tables.task(UUID(task["id"]))
        assert row["lease_token"] == world.journal.of(row["id"])[1].token
