from __future__ import annotations

from dataclasses import replace
from typing import Any

import asyncpg
import httpx2
import pytest

from task_api.parts import ApiParts
from task_bus.signals import MemoryHub, open_signals

OK = {"status": "ok", "detail": None}


async def test_a_process_that_answers_is_alive(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_all_is_well_with_a_worker_on_every_queue(
    open_parts: Any, open_client: Any, database_url: str, worker: Any
) -> None:
    async with open_parts(database_url, queues=("default",)) as parts, open_client(parts) as client:
        answer = await client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"database": OK, "schema": OK, "workers": OK, "broker": OK},
    }


async def test_a_queue_that_no_live_worker_serves_is_named(client: httpx2.AsyncClient, worker: Any) -> None:
    answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["workers"]["detail"] == "no live worker serves reports"


async def test_without_the_broker_callers_are_still_welcome(parts: ApiParts, open_client: Any) -> None:
    never_connected = open_signals("memory://", name="test", hub=MemoryHub())
    async with open_client(replace(parts, signals=never_connected)) as client:
        answer = await client.get("/health/ready")
        created = await client.post("/api/v1/tasks", json={"name": "a task"})

    assert (answer.status_code, answer.json()["checks"]["broker"]["status"]) == (200, "degraded")
    assert created.status_code == 201


@pytest.mark.parametrize(
    ("statement", "code", "status", "detail"),
    [
        ("UPDATE alembic_version SET version_num = '0000'", 503, "unavailable", "run task-migrate"),
        ("DELETE FROM alembic_version", 503, "unavailable", "revision none"),
        ("DROP TABLE alembic_version, tasks, workers, task_types CASCADE", 503, "unavailable", "revision none"),
        ("UPDATE alembic_version SET version_num = '9999'", 200, "degraded", "newer"),
    ],
)
async def test_a_schema_that_is_too_old_keeps_callers_away_and_a_newer_one_does_not(
    client: httpx2.AsyncClient, sql: asyncpg.Connection, statement: str, code: int, status: str, detail: str
) -> None:
    await sql.execute(statement)

    answer = await client.get("/health/ready")

    assert answer.status_code == code
    assert answer.json()["checks"]["schema"]["status"] == status
    assert detail in answer.json()["checks"]["schema"]["detail"]


async def test_a_process_that_stops_wants_no_callers(client: httpx2.AsyncClient, parts: ApiParts) -> None:
    parts.stop.set()

    answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()) == (503, {"status": "stopping", "checks": {}})
    assert (await client.get("/health/live")).status_code == 200
