"""`Prefer: wait=N`: a call answers when its task has ended, or with what there is when the time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx2
import pytest

from task_api.parts import ApiParts
from task_contracts import Signal, SignalKind
from task_contracts.testing import an_id

TASKS = "/api/v1/tasks"
WAIT = {"prefer": "wait=30"}
Create = Callable[..., Awaitable[dict[str, Any]]]
BOTH = pytest.mark.parametrize("suffix", ["", "/status"], ids=["task", "status"])


async def is_watched(parts: ApiParts) -> bool:
    return bool(parts.watch.subscriptions)


@BOTH
async def test_a_caller_is_answered_when_the_task_has_ended(
    client: httpx2.AsyncClient, parts: ApiParts, create: Create, worker: Any, until: Any, suffix: str
) -> None:
    task = await create()

    waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}{suffix}", headers=WAIT))
    await until(lambda: is_watched(parts))
    await worker.complete(task["id"], "[1]")
    answer = await waiting

    assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "COMPLETED", 'W/"3"')
    assert answer.headers["preference-applied"] == "wait=30"
    assert suffix or answer.json()["result"] == [1]
    assert not parts.watch.subscriptions


async def test_a_signal_is_enough_and_need_not_be_waited_for(
    client: httpx2.AsyncClient, parts: ApiParts, create: Create, worker: Any, until: Any
) -> None:
    task = await create()

    waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}/status", headers=WAIT))
    await until(lambda: is_watched(parts))
    await worker.complete(task["id"])
    parts.signals.send(Signal(kind=SignalKind.CHANGED, ids=(task["id"],)))

    assert (await waiting).json()["status"] == "COMPLETED"


@BOTH
async def test_when_the_time_is_over_the_task_is_shown_as_it_is(
    client: httpx2.AsyncClient, create: Create, suffix: str
) -> None:
    task = await create()

    answer = await client.get(f"{TASKS}/{task['id']}{suffix}", headers={"prefer": "wait=1"})

    assert (answer.status_code, answer.json()["status"]) == (200, "NEW")
    assert answer.headers["preference-applied"] == "wait=1"


async def test_a_task_that_has_ended_is_shown_at_once(client: httpx2.AsyncClient, create: Create, worker: Any) -> None:
    task = await create()
    await worker.complete(task["id"])
    path = f"{TASKS}/{task['id']}"

    async with asyncio.timeout(10):
        answer = await client.get(path, headers=WAIT)
        known = await client.get(path, headers={**WAIT, "if-none-match": answer.headers["etag"]})
        head = await client.head(path, headers=WAIT)

    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
    assert (known.status_code, known.content, known.headers["preference-applied"]) == (304, b"", "wait=30")
    assert (head.status_code, head.headers["preference-applied"]) == (200, "wait=30")


async def test_a_caller_that_has_the_version_waits_too_and_gets_304_if_nothing_changed(
    client: httpx2.AsyncClient, create: Create
) -> None:
    task = await create()

    answer = await client.get(f"{TASKS}/{task['id']}", headers={"prefer": "wait=1", "if-none-match": 'W/"1"'})

    assert (answer.status_code, answer.headers["preference-applied"]) == (304, "wait=1")


async def test_create_and_wait_answers_201_with_the_result(
    client: httpx2.AsyncClient, parts: ApiParts, worker: Any, until: Any, sql: asyncpg.Connection
) -> None:
    waiting = asyncio.create_task(client.post(TASKS, json={"name": "a task"}, headers=WAIT))
    await until(lambda: is_watched(parts))
    task_id = str(await sql.fetchval("SELECT id FROM tasks"))
    await worker.complete(task_id, "[1]")
    answer = await waiting

    assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (201, "COMPLETED", [1])
    assert answer.headers["location"] == f"{TASKS}/{task_id}"
    assert answer.headers["preference-applied"] == "wait=30"


async def test_a_task_that_is_purged_meanwhile_is_404(
    client: httpx2.AsyncClient, parts: ApiParts, create: Create, until: Any, sql: asyncpg.Connection
) -> None:
    task = await create()

    waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}", headers=WAIT))
    await until(lambda: is_watched(parts))
    await sql.execute("DELETE FROM tasks")

    assert (await waiting).status_code == 404


async def test_an_unknown_task_is_404_at_once(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(10):
        assert (await client.get(f"{TASKS}/{an_id()}", headers=WAIT)).status_code == 404


async def test_a_server_that_stops_answers_those_who_wait(
    client: httpx2.AsyncClient, parts: ApiParts, create: Create, until: Any
) -> None:
    task = await create()

    waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}", headers=WAIT))
    await until(lambda: is_watched(parts))
    parts.stop.set()
    async with asyncio.timeout(5):
        answer = await waiting

    assert (answer.status_code, answer.json()["status"]) == (200, "NEW")


async def test_a_caller_that_goes_away_leaves_nothing(
    live_client: httpx2.AsyncClient, parts: ApiParts, create: Create, until: Any
) -> None:
    path = f"{TASKS}/{(await create())['id']}"
    calls = [("GET", path, None), ("GET", f"{path}/status", None), ("POST", TASKS, {"name": "a task"})]
    waiting = [
        asyncio.create_task(live_client.request(method, url, json=body, headers={"prefer": "wait=60"}))
        for method, url, body in calls
    ]

    async def are_watched(count: int) -> bool:
        return len(parts.watch.subscriptions) == count

    await until(lambda: are_watched(3))
    for call in waiting:
        call.cancel()

    await until(lambda: are_watched(0))


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "respond-async", ",;=", '"'])
async def test_what_is_not_understood_is_ignored(client: httpx2.AsyncClient, create: Create, prefer: str) -> None:
    task = await create()

    answer = await client.get(f"{TASKS}/{task['id']}", headers={"prefer": prefer})

    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
