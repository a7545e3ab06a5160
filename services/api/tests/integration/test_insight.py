"""How the service fares: what the leader has counted is shown, and nothing is counted for a request."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import pytest

from task_contracts import Demand, ItemList, Priority, QueueState, Stats
from task_contracts.lifecycle import Event
from task_runtime.metrics.counts import Metrics
from task_runtime.observers import Observer, Observers
from task_store import Activities, ActivityCounts, Database, QueueCounts

NOW = datetime.now(UTC)


@pytest.fixture
async def counted(database_url: str, client: httpx2.AsyncClient) -> None:
    """What the leader and the workers have written of a busy service."""
    kind = ("default", Priority.MEDIUM, "echo")
    async with Database(database_url) as database:
        last_minute = ActivityCounts(lambda: time.time() - 120)
        last_minute.happened(kind, Event.CREATE, 30)
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
@pytest.mark.parametrize(("target", "desired"), [(60, 168), (30, 335), (1, 335), (3_600, 3)])
async def test_demand_wants_as_many_workers_as_end_the_work_in_time(
    client: httpx2.AsyncClient, target: float, desired: int
) -> None:
    answer = await client.get("/api/v1/queues/default/demand", params={"target_wait_seconds": target})
    demand = Demand.model_validate_json(answer.content)

    # (4 running + 10,020 waiting x 30 s / target, at most one slot each) / 30 slots
    assert (demand.demand, demand.waiting, demand.running) == (10_024, 10_020, 4)
    assert demand.desired_workers == desired


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("target", [1, 60, 86_400])
async def test_demand_without_a_live_worker_wants_the_first(client: httpx2.AsyncClient, target: float) -> None:
    demand = (await client.get(f"/api/v1/queues/default/demand?target_wait_seconds={target}")).json()
    of_nothing = (await client.get(f"/api/v1/queues/reports/demand?target_wait_seconds={target}")).json()

    assert (demand["demand"], demand["desired_workers"]) == (10_024, 1)
    assert (of_nothing["demand"], of_nothing["desired_workers"]) == (0, 0)


@pytest.mark.parametrize("queue", ["elsewhere", "%00", "'; DROP TABLE tasks"])
async def test_demand_of_no_queue_is_404(client: httpx2.AsyncClient, queue: str) -> None:
    answer = await client.get(f"/api/v1/queues/{queue}/demand")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("target", ["0", "-1", "0.99", "1e-300", "5e-324", "nan", "inf", "86401", "soon"])
async def test_target_that_is_none_is_422(client: httpx2.AsyncClient, target: str) -> None:
    answer = await client.get("/api/v1/queues/default/demand", params={"target_wait_seconds": target})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.target_wait_seconds")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("stats?verbose=1", "is not a parameter of this call"),
        ("queues?queue=default", "is not a parameter of this call"),
        ("queues/default/demand?verbose=1", "Extra inputs are not permitted"),
        ("queues/default/demand?target_wait_seconds=5&target_wait_seconds=60", "is given more than once"),
    ],
)
async def test_parameter_that_is_unknown_or_repeated_is_422(
    client: httpx2.AsyncClient, path: str, message: str
) -> None:
    answer = await client.get(f"/api/v1/{path}")

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["message"]) == ("query." + path.split("?")[1].split("=")[0], message)


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


async def test_types_without_end_make_one_row_and_one_series(
    open_parts: Any, open_client: Any, database_url: str, sql: asyncpg.Connection, client: httpx2.AsyncClient
) -> None:
    del client  # it has made the tables
    await sql.execute(
        "INSERT INTO workers (id, queues, types, started_at, expires_at, reaches_broker)"
        " VALUES (gen_random_uuid(), '{default}', '{echo}', now(), now() + interval '1 minute', true)"
    )
    counts, metrics = ActivityCounts(lambda: NOW.timestamp()), Metrics("test", "1")
    metrics.offer("fleet", ["echo"])

    async def seen() -> tuple[list[tuple[str, int]], int]:
        async with Database(database_url) as database:
            await Activities(database).add(counts)
        rows = await sql.fetch("SELECT type, accepted FROM activity_minutes ORDER BY type")
        series = sum(len(metric.samples) for metric in metrics.registry.collect())
        return [(row["type"], row["accepted"]) for row in rows], series

    def batch(first: int) -> dict[str, Any]:
        return {"tasks": [{"name": "a", "type": f"hostile-{number}"} for number in range(first, first + 1_000)]}

    async with (
        open_parts(database_url) as parts,
        open_client(_observed(parts, Observers([counts, metrics]))) as hostile,
    ):
        await hostile.post("/api/v1/tasks", json={"name": "a"})
        found = []
        for turn in range(3):
            assert (await hostile.post("/api/v1/tasks/batch", json=batch(1_000 * turn))).status_code == 201
            assert len(counts._sums) <= 1_002
            found.append(await seen())

    assert [rows for rows, _ in found] == [[("echo", 1), ("other", 1_000 * turn)] for turn in (1, 2, 3)]
    assert len({series for _, series in found}) == 1


def _observed(parts: Any, observer: Observer) -> Any:
    return replace(parts, observer=observer)
