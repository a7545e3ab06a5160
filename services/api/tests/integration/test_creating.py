from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx2

from task_contracts import SignalKind, Task

TASKS = "/api/v1/tasks"
Create = Callable[..., Awaitable[dict[str, Any]]]


async def test_a_task_that_is_answered_with_201_is_in_the_table(
    client: httpx2.AsyncClient, sql: asyncpg.Connection
) -> None:
    answer = await client.post(TASKS, json={"name": "say hello"})

    assert answer.status_code == 201
    task = Task.model_validate_json(answer.content)
    assert answer.headers["location"] == f"{TASKS}/{task.id}"
    assert await sql.fetchval("SELECT status FROM tasks WHERE id = $1", task.id) == "NEW"


async def test_what_is_left_out_gets_its_default(create: Create) -> None:
    task = await create()

    assert (task["type"], task["queue"], task["priority"], task["payload"]) == ("echo", "default", "MEDIUM", {})
    assert (task["status"], task["attempt"], task["version"], task["result"]) == ("NEW", 0, 1, None)


async def test_everything_that_can_be_asked_for_is_kept(client: httpx2.AsyncClient, create: Create) -> None:
    asked = {
        "name": "monthly report",
        "description": "for 東京 🗼",
        "priority": "HIGH",
        "type": "report.build",
        "queue": "reports",
        "labels": {"customer": "42", "région": ""},
        "payload": {
            "month": "2026-10",
            "rows": [1, 2.5, None, {"deep": [True]}],
            "big": 2**63 - 1,
            "ключ": "\U0001f600",
        },
        "run_at": "2026-11-01T12:00:00.123456Z",
        "timeout_seconds": 0.5,
        "max_attempts": 25,
    }

    created = await create(**asked)
    read = (await client.get(f"{TASKS}/{created['id']}")).json()

    assert read == created
    assert {name: read[name] for name in asked} == asked


async def test_a_signal_is_sent_for_a_task_that_is_due_and_for_no_later_one(create: Create, received: Any) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    await create(run_at=tomorrow)
    await create(queue="reports", run_at="2020-01-01T00:00:00Z")

    signal = await received.next()
    assert (signal.kind, signal.queue, len(signal.ids)) == (SignalKind.DUE, "reports", 1)


async def test_a_queue_that_does_not_exist_is_refused_by_name(client: httpx2.AsyncClient) -> None:
    answer = await client.post(TASKS, json={"name": "a task", "queue": "reprots"})

    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_queue"
    assert [error["field"] for error in answer.json()["errors"]] == ["body.queue"]


async def test_without_a_default_the_type_is_required(open_parts: Any, open_client: Any, database_url: str) -> None:
    async with open_parts(database_url, default_type="") as parts, open_client(parts) as client:
        without = await client.post(TASKS, json={"name": "a task"})
        named = await client.post(TASKS, json={"name": "a task", "type": "mine"})

    assert [error["field"] for error in without.json()["errors"]] == ["body.type"]
    assert (without.status_code, named.status_code, named.json()["type"]) == (422, 201, "mine")


async def test_a_hundred_callers_at_once_get_a_task_each(create: Create, sql: asyncpg.Connection) -> None:
    created = await asyncio.gather(*(create(name=f"task {number}") for number in range(100)))

    kept = {str(row["id"]): row["name"] for row in await sql.fetch("SELECT id, name FROM tasks")}
    assert kept == {task["id"]: f"task {number}" for number, task in enumerate(created)}
