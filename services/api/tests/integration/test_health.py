from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import httpx2
import pytest
from structlog.testing import capture_logs

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


async def test_a_read_only_database_keeps_callers_away_until_it_takes_writes_again(
    client: httpx2.AsyncClient, sql: asyncpg.Connection, until: Any
) -> None:
    """As after a failover to a standby, or where the disk of a managed database is full."""
    name = await sql.fetchval("SELECT current_database()")

    async def is_answered(ready: int, created: int) -> bool:
        answers = await client.get("/health/ready"), await client.post("/api/v1/tasks", json={"name": "a task"})
        assert {answer.status_code for answer in answers} <= {200, 201, 503}
        return [answer.status_code for answer in answers] == [ready, created]

    await until(lambda: is_answered(200, 201))
    await sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'task-store'")
    await until(lambda: is_answered(503, 503))
    checks = (await client.get("/health/ready")).json()["checks"]

    await sql.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')

    async with asyncio.timeout(5):
        await until(lambda: is_answered(200, 201))
    assert "read-only" in checks["database"]["detail"]


async def test_an_error_of_the_database_that_nobody_knows_is_no_500(
    client: httpx2.AsyncClient, sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql"
        " AS $$BEGIN RAISE EXCEPTION 'hunter2' USING ERRCODE = 'ZZ999'; END$$"
    )
    await sql.execute("CREATE TRIGGER strange BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION strange()")

    with capture_logs() as lines:
        answer = await client.post("/api/v1/tasks", json={"name": "a task"})

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "hunter2" not in answer.text
    assert [line["sqlstate"] for line in lines if line["event"] == "database_error_unforeseen"] == ["ZZ999"]


async def test_a_process_that_stops_wants_no_callers(client: httpx2.AsyncClient, parts: ApiParts) -> None:
    parts.stop.set()

    answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()) == (503, {"status": "stopping", "checks": {}})
    assert (await client.get("/health/live")).status_code == 200
