"""Pauses, as an operator uses them on a service under load: they hold at once, and nothing is lost by them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from harness.api import Api, Json
from harness.world import World

PAUSES = "/api/v1/pauses"
ROUNDS = 5


async def test_what_is_paused_does_not_begin_and_all_of_it_runs_afterwards(world: World) -> None:
    api, *_ = await asyncio.gather(world.api(), world.worker(), world.worker())
    ids = await api.create_all([{"type": "step.pause", "payload": {"seconds": 0.01}}] * 300)

    for _ in range(ROUNDS):
        creating = asyncio.create_task(_create(api, 300))
        await asyncio.sleep(0.2)
        pause = await _pause(api, type="step.pause")
        ids += await creating
        await asyncio.sleep(0.3)
        since = datetime.fromisoformat(pause["effective_at"])
        assert await world.tables.rows("SELECT id FROM tasks WHERE started_at >= $1", since) == []
        ended = await api.http.delete(f"{PAUSES}/{pause['id']}")
        assert ended.status_code == 200, ended.text

    await api.all_complete(ids)
    await world.check()


async def test_what_is_not_paused_goes_on_and_a_pause_ends_by_itself(world: World) -> None:
    api, _ = await asyncio.gather(world.api(), world.worker())
    await _pause(api, priority="LOW")
    low, high = await api.create(type="step.noop", priority="LOW"), await api.create(type="step.noop", priority="HIGH")

    await api.reaches(high["id"], "COMPLETED")
    explained = (await api.http.get(f"/api/v1/tasks/{low['id']}/explain")).json()
    assert explained["reason"] == "paused"
    (pause,) = (await api.http.get(PAUSES)).json()["items"]
    await api.http.delete(f"{PAUSES}/{pause['id']}")
    await api.reaches(low["id"], "COMPLETED")
    await world.check()


async def test_a_pause_that_ends_while_nobody_leads_lets_go(world: World) -> None:
    api, worker = await asyncio.gather(world.api(), world.worker())
    pause = await _pause(api)
    ids = await api.create_all([{"type": "step.noop"}] * 50)
    worker.kill()
    await api.http.delete(f"{PAUSES}/{pause['id']}")

    await world.worker()

    await api.all_complete(ids)
    await world.check()


async def _create(api: Api, count: int) -> list[Any]:
    return await api.create_all([{"type": "step.pause", "payload": {"seconds": 0.01}}] * count)


async def _pause(api: Api, **what: str) -> Json:
    answer = await api.http.post(PAUSES, json=what)
    assert answer.status_code == 201, answer.text
    pause: Json = answer.json()
    return pause
