"""A running service says what it does: counts flow from API and workers to whoever asks."""

from __future__ import annotations

from typing import Any

from harness.waiting import eventually
from harness.world import World


async def test_what_waits_runs_and_has_happened_is_told(world: World) -> None:
    api = await world.api()
    await world.worker()
    # Offered lately, so that it is not rejected; but by no live worker.
    await world.tables.rows("INSERT INTO task_types (queue, type, last_offered_at) VALUES ('default', 'idle', now())")
    ids = await api.create_all([{"payload": {"n": n}} for n in range(20)])
    await api.create_all([{"type": "idle", "priority": "HIGH"}] * 5)
    await api.all_complete(ids)
    created = 'SELECT create_task(\'{"name": "a", "type": "idle", "priority": "LOW"}\')'
    await world.tables.rows(created)

    async def is_counted() -> bool:
        (default, *_) = (await api.http.get("/api/v1/queues")).json()["items"]
        waiting: dict[str, Any] = {one["priority"]: one["waiting"] for one in default["priorities"]}
        return waiting == {"HIGH": 5, "MEDIUM": 0, "LOW": 1}

    async def is_summed() -> bool:
        rows = await world.tables.rows(
            "SELECT type, sum(accepted) AS accepted, sum(started) AS started, sum(completed) AS completed"
            " FROM activity_minutes GROUP BY type ORDER BY type"
        )
        return [tuple(row.values()) for row in rows] == [("echo", 20, 20, 20), ("other", 6, 0, 0)]

    await eventually(is_counted, "the leader has counted what waits")
    await eventually(is_summed, "API and worker have told what happened")
    stats = (await api.http.get("/api/v1/stats")).json()
    assert (stats["waiting"], stats["running"], stats["live_workers"]) == (6, 0, 1)

    for _ in range(2):  # the repeat finds nothing
        (await api.http.post("/api/v1/tasks/cancel", json={"filter": {"type": "idle"}})).raise_for_status()

    async def is_cancelled() -> bool:
        rows = await world.tables.rows("SELECT type, sum(cancelled) AS cancelled FROM activity_minutes GROUP BY type")
        return {row["type"]: row["cancelled"] for row in rows} == {"echo": 0, "other": 6}

    await eventually(is_cancelled, "the API has told what it cancelled")
