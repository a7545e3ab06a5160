"""The database stops, freezes and comes back: callers are answered in time, and nothing has to be restarted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from secrets import token_hex
from typing import Any

import asyncpg
import httpx2
import pytest

from task_api.deadlines import Deadlines
from task_contracts.testing import an_id
from task_migrations import upgrade
from task_store.testing import PrivatePostgres

pytestmark = [pytest.mark.private_servers, pytest.mark.alone]

TASKS = "/api/v1/tasks"
CALLS = [
    ("POST", TASKS),
    ("POST", f"{TASKS}/batch"),
    ("GET", TASKS),
    ("GET", f"{TASKS}?idempotency_key=k"),
    ("GET", f"{TASKS}?include_total=true"),
    ("GET", f"{TASKS}/{an_id()}"),
    ("GET", f"{TASKS}/{an_id()}/status"),
    ("DELETE", f"{TASKS}/{an_id()}"),
    ("PATCH", f"{TASKS}/{an_id()}"),
    ("POST", f"{TASKS}/{an_id()}/rerun"),
    ("POST", f"{TASKS}/cancel"),
    ("POST", f"{TASKS}/rerun"),
]
UPDATE = {"priority": "HIGH"}
KEYED = (TASKS, f"{TASKS}/batch")
BODIES: dict[tuple[str, str], Any] = {
    ("POST", TASKS): {"name": "a task"},
    ("POST", f"{TASKS}/batch"): {"tasks": [{"name": "a task"}]},
    ("POST", f"{TASKS}/cancel"): {"all": True},
    ("POST", f"{TASKS}/rerun"): {"all": True},
}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[PrivatePostgres]:
    async with PrivatePostgres() as started:
        await upgrade(started.url())
        yield started


@pytest.fixture
async def client(server: PrivatePostgres, open_parts: Any, open_client: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_parts(server.url()) as parts, open_client(parts) as opened:
        await asyncio.gather(*(call(opened, "GET", f"{TASKS}/{an_id()}") for _ in range(20)))  # connections are open
        yield opened


async def call(client: httpx2.AsyncClient, method: str, path: str) -> tuple[httpx2.Response, float]:
    """Return the answer, and how long it took in seconds."""
    clock = asyncio.get_running_loop().time
    began = clock()
    body = BODIES.get((method, path), UPDATE if method == "PATCH" else None)
    headers = {"Idempotency-Key": token_hex()} if method == "POST" and path in KEYED else {}
    answer = await client.request(method, path, json=body, headers=headers)
    return answer, clock() - began


async def all_calls(client: httpx2.AsyncClient, times: int) -> list[tuple[httpx2.Response, float]]:
    return await asyncio.gather(*(call(client, method, path) for _ in range(times) for method, path in CALLS))


async def is_back(client: httpx2.AsyncClient) -> bool:
    answer, _ = await call(client, "POST", TASKS)
    return answer.status_code == 201


async def check_that_callers_are_answered(client: httpx2.AsyncClient) -> None:
    answers = await all_calls(client, times=8)  # more at once than there are connections

    assert {answer.status_code for answer, _ in answers} == {503}
    assert {answer.headers["content-type"] for answer, _ in answers} == {"application/problem+json"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer, _ in answers)
    assert max(seconds for _, seconds in answers) < 5


async def check_health(client: httpx2.AsyncClient) -> None:
    ready, seconds = await call(client, "GET", "/health/ready")
    live, _ = await call(client, "GET", "/health/live")

    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert ready.json()["checks"]["database"]["detail"]
    assert seconds < 2
    assert live.status_code == 200


async def test_a_stopped_database_is_503_and_its_return_needs_no_help(
    client: httpx2.AsyncClient, server: PrivatePostgres, until: Any
) -> None:
    await server.stop(immediate=True)
    await check_health(client)
    await check_that_callers_are_answered(client)

    await server.start()

    await until(partial(is_back, client))
    assert (await call(client, "GET", "/health/ready"))[0].status_code == 200


async def test_a_frozen_database_is_503_within_5_s_and_its_return_needs_no_help(
    client: httpx2.AsyncClient, server: PrivatePostgres, until: Any
) -> None:
    server.pause()
    try:
        await check_health(client)
        await check_that_callers_are_answered(client)
        await check_that_callers_are_answered(client)  # on the connections that the first ones left
    finally:
        server.resume()

    await until(partial(is_back, client))
    assert (await call(client, "GET", "/health/ready"))[0].status_code == 200


async def test_what_callers_gave_up_on_in_a_freeze_is_not_stored_after_it(
    server: PrivatePostgres, open_parts: Any, open_client: Any
) -> None:
    deadlines = Deadlines(request_seconds=0.5)
    async with open_parts(server.url(), deadlines=deadlines) as parts, open_client(parts) as client:
        await call(client, "POST", TASKS)  # a connection is open
        server.pause()
        try:
            under_way = await client.post(TASKS, json={"name": "under way"})
            given_up = await asyncio.gather(*(client.post(TASKS, json={"name": "given up"}) for _ in range(60)))
        finally:
            server.resume()
        await parts.tasks.aclose()

    assert {answer.status_code for answer in (under_way, *given_up)} == {503}
    connection = await asyncpg.connect(server.url(), timeout=10, command_timeout=10)
    assert await connection.fetchval("SELECT count(*) FROM tasks WHERE name = 'given up'") == 0
    await connection.close(timeout=10)


@pytest.mark.parametrize(
    ("path", "body"),
    [(TASKS, {"name": "unclear"}), (f"{TASKS}/batch", {"tasks": [{"name": "unclear"}]})],
    ids=["a task", "a batch"],
)
async def test_what_a_503_left_unclear_is_settled_by_a_repeat_with_its_key(
    path: str, body: Any, server: PrivatePostgres, open_parts: Any, open_client: Any
) -> None:
    deadlines, key = Deadlines(request_seconds=0.5), {"Idempotency-Key": token_hex()}
    async with open_parts(server.url(), deadlines=deadlines) as parts, open_client(parts) as client:
        await call(client, "POST", TASKS)  # a connection is open
        server.pause()
        try:
            unclear = await client.post(path, json=body, headers=key)
        finally:
            server.resume()

        repeats = [await client.post(path, json=body, headers=key) for _ in range(2)]

        found = await client.get(TASKS, params={"idempotency_key": key["Idempotency-Key"]})

    assert unclear.status_code == 503
    assert [repeat.status_code for repeat in repeats] == [201, 201]
    assert repeats[1].headers["Idempotency-Replayed"] == "true"
    assert len(found.json()["items"]) == 1
