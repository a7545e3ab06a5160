"""How the service fares: what the leader has counted is shown, and nothing is counted for a request."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import pytest

from task_contracts import Demand, ItemList, Priority, QueueState, Stats
from task_contracts.lifecycle import Event
from task_store import Activities, ActivityCounts, Database, QueueCounts

NOW = datetime.now(UTC)


@pytest.fixture
async def counted(database_url: str, client: httpx2.AsyncClient) -> None:
    """What the leader and the workers have written of a busy service."""
    kind = ("default", Priority.MEDIUM, "echo")
    async with Database(database_url) as database:
        last_minute = ActivityCounts(lambda: NOW.timestamp() - 120)
        last_minute.accepted(kind, 30)
        for _ in range(10):
            last_minute.started(kind, 0.5)
            last_minute.ended(kind, Event.COMPLETE, 30.0, 31.0)
        await Activities(database).add(last_minute)
        row = {"waiting_is_capped": False, "oldest_due_at": None}
        await QueueCounts(database).write(
            [
                {**row, "queue": "default", "priority": "HIGH", "waiting": 20, "running": 4},
                {
                    **row,
                    "queue": "default",
                    "priority": "LOW",
                    "waiting": 10_000,
                    "running": 0,
                    "waiting_is_capped": True,
                    "oldest_due_at": NOW - timedelta(minutes=5),
                },
            ]
        )


@pytest.fixture
async def workers(sql: asyncpg.Connection, client: httpx2.AsyncClient) -> None:
    for slots in (40, 20):
        await sql.execute(
            "INSERT INTO workers (id, queues, types, started_at, expires_at, reaches_broker, slots)"
            " VALUES (gen_random_uuid(), '{default}', '{echo}', now(), now() + interval '1 minute', true, $1)",
            slots,
        )


async def test_before_anything_was_counted_there_is_nothing(client: httpx2.AsyncClient) -> None:
    stats = (await client.get("/api/v1/stats")).json()
    queues = (await client.get("/api/v1/queues")).json()
    demand = (await client.get("/api/v1/queues/reports/demand")).json()

    assert (stats["at"], stats["waiting"], stats["running"], stats["live_workers"]) == (None, 0, 0, 0)
    assert [one["seconds"] for one in stats["rates"]] == [60, 300, 900]
    assert [(one["queue"], one["priorities"]) for one in queues["items"]] == [("default", []), ("reports", [])]
    assert (demand["demand"], demand["desired_workers"]) == (0, 0)


@pytest.mark.usefixtures("workers", "counted")
async def test_stats_and_queues_show_what_was_counted(client: httpx2.AsyncClient) -> None:
    stats = Stats.model_validate_json((await client.get("/api/v1/stats")).content)
    queues = ItemList[QueueState].model_validate_json((await client.get("/api/v1/queues")).content)

    assert (stats.waiting, stats.waiting_is_capped, stats.running) == (10_000, True, 4)
    assert (stats.live_workers, stats.slots) == (2, 60)
    assert stats.oldest_wait_seconds is not None
    assert stats.oldest_wait_seconds > 290
    assert (stats.rates[1].accepted, stats.rates[1].mean_run_seconds) == (30, 30.0)
    default = queues.items[0]
    assert [(one.priority, one.waiting) for one in default.priorities] == [
        (Priority.HIGH, 20),
        (Priority.LOW, 10_000),
    ]
    assert (default.live_workers, default.slots) == (2, 60)


@pytest.mark.usefixtures("workers", "counted")
@pytest.mark.parametrize(("target", "desired"), [(60, 168), (30, 335), (3_600, 3)])
async def test_demand_wants_as_many_workers_as_end_the_work_in_time(
    client: httpx2.AsyncClient, target: float, desired: int
) -> None:
    answer = await client.get("/api/v1/queues/default/demand", params={"target_wait_seconds": target})
    demand = Demand.model_validate_json(answer.content)

    # (4 running + 10,020 waiting x 30 s / target) / 30 slots
    assert (demand.demand, demand.waiting, demand.running) == (10_024, 10_020, 4)
    assert demand.desired_workers == desired


@pytest.mark.parametrize("queue", ["elsewhere", "%00", "'; DROP TABLE tasks"])
async def test_demand_of_no_queue_is_404(client: httpx2.AsyncClient, queue: str) -> None:
    answer = await client.get(f"/api/v1/queues/{queue}/demand")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("target", ["0", "-1", "nan", "inf", "86401", "soon"])
async def test_target_that_is_none_is_422(client: httpx2.AsyncClient, target: str) -> None:
    answer = await client.get("/api/v1/queues/default/demand", params={"target_wait_seconds": target})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.target_wait_seconds")


async def test_each_task_that_is_stored_is_counted_once(
    open_parts: Any, open_client: Any, database_url: str, client: httpx2.AsyncClient
) -> None:
    del client  # it has made the tables
    counts = ActivityCounts()
    async with open_parts(database_url) as parts, open_client(_observed(parts, counts)) as counting:
        await counting.post("/api/v1/tasks", json={"name": "a"})
        for _ in range(2):
            await counting.post("/api/v1/tasks", json={"name": "a"}, headers={"Idempotency-Key": "one"})
            batch = {"tasks": [{"name": "a", "priority": "HIGH"}] * 5}
            await counting.post("/api/v1/tasks/batch", json=batch, headers={"Idempotency-Key": "many"})
        await counting.post("/api/v1/tasks", json={"name": ""})

    accepted = {kind: sums["accepted"] for (_, kind), sums in counts.take().items()}
    assert accepted == {("default", "MEDIUM", "echo"): 2, ("default", "HIGH", "echo"): 5}


def _observed(parts: Any, counts: ActivityCounts) -> Any:
    return replace(parts, observer=counts)
