"""The calls on pauses, and what a task that waits for one is said to wait for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from task_api.parts import ApiParts
from task_contracts import ItemList, Pause, limits
from task_store import Offer, WorkerProcess, Workers, new_worker_id

LEASE = timedelta(minutes=5)
PAUSES = "/api/v1/pauses"


async def test_a_pause_is_added_listed_and_ended_once(client: httpx2.AsyncClient) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    asked = {"queue": "default", "type": "echo", "priority": "LOW", "reason": "provider is down", "until": until}

    added = await client.post(PAUSES, json=asked)
    pause = Pause.model_validate_json(added.content)
    standing = await client.get(PAUSES)
    ended = await client.delete(f"{PAUSES}/{pause.id}")
    again = await client.delete(f"{PAUSES}/{pause.id}")
    left, all_of_them = await client.get(PAUSES), await client.get(PAUSES, params={"include_ended": "true"})

    assert added.status_code == 201
    assert (pause.queue, pause.type, pause.priority, pause.reason, pause.paused_by) == (
        *("default", "echo", "LOW", "provider is down"),
        "",
    )
    assert pause.created_at < pause.effective_at
    assert ItemList[Pause].model_validate_json(standing.content).items == [pause]
    assert (ended.status_code, ended.json()["ended_at"] is not None) == (200, True)
    assert (again.status_code, again.json()["code"]) == (409, "pause_is_over")
    assert left.json() == {"items": []}
    assert [one["id"] for one in all_of_them.json()["items"]] == [str(pause.id)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"queue": "NO"}, "body.queue"),
        ({"type": ""}, "body.type"),
        ({"priority": "URGENT"}, "body.priority"),
        ({"until": "2001-01-01T00:00:00Z"}, "body.until"),
        ({"until": 1_900_000_000}, "body.until"),
        ({"until": "tomorrow"}, "body.until"),
        ({"reason": "x" * (limits.PAUSE_REASON_CHARS + 1)}, "body.reason"),
        ({"reason": "\u0000"}, "body.reason"),
        ({"types": "echo"}, "body.types"),
    ],
)
async def test_a_wrong_pause_is_refused_by_its_field(
    client: httpx2.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(PAUSES, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert (await client.get(PAUSES)).json() == {"items": []}


async def test_an_unknown_pause_is_404(client: httpx2.AsyncClient) -> None:
    unknown, wrong = await client.delete(f"{PAUSES}/{uuid4()}"), await client.delete(f"{PAUSES}/x")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "pause_not_found")
    assert wrong.status_code == 422


async def test_a_worker_of_an_older_version_is_named(
    client: httpx2.AsyncClient, parts: ApiParts, sql: asyncpg.Connection
) -> None:
    worker, workers = new_worker_id(), Workers(parts.database)
    await workers.register(worker, Offer(("default",), {"echo": None}), LEASE, WorkerProcess("old-one", 47, "0.1.0", 1))
    await sql.execute("UPDATE workers SET schema_revision = NULL")

    answer = await client.post(PAUSES, json={})

    assert (answer.status_code, answer.json()["code"]) == (409, "pauses_not_known")
    assert "old-one:47 0.1.0" in answer.json()["detail"]


async def test_explain_names_the_pause(client: httpx2.AsyncClient) -> None:
    task = (await client.post("/api/v1/tasks", json={"name": "one", "type": "mail.send"})).json()
    pause = (await client.post(PAUSES, json={"type": "mail.send", "reason": "the provider is down"})).json()

    explained = (await client.get(f"/api/v1/tasks/{task['id']}/explain")).json()

    assert (explained["reason"], explained["pause_id"]) == ("paused", pause["id"])
    assert explained["sentence"].startswith("Waits: the type mail.send is paused since ")
    assert explained["sentence"].endswith(": the provider is down.")
