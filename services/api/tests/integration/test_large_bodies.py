"""Large payloads and results: all are stored, and all can be read again."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from task_api.deadlines import Deadlines
from task_contracts import limits
from task_store.testing import Table, connect_past_store

TASKS = "/api/v1/tasks"
SLOW_ROWS = """
CREATE FUNCTION slow_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN new; END $$;
CREATE TRIGGER slow_row BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION slow_row()
"""


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[Table]:
    connection = await connect_past_store(database_url)
    yield Table(connection)
    await connection.close(timeout=60)


def incompressible(size_bytes: int) -> dict[str, str]:
    return {"x": base64.b64encode(secrets.token_bytes(size_bytes * 3 // 4)).decode()}


async def test_burst_of_large_payloads_is_stored_though_it_takes_longer_than_a_caller_waits_for_one(
    table: Table, database_url: str, open_parts: Any, open_client: Any
) -> None:
    await table.execute(SLOW_ROWS)
    payload = incompressible(1_040_000)  # four of them in a statement, which takes 0.8 s
    async with (
        open_parts(database_url, deadlines=Deadlines(request_seconds=2.0)) as parts,
        open_client(parts) as client,
    ):
        answers = await asyncio.gather(
            *(client.post(TASKS, json={"name": "large", "payload": payload}) for _ in range(14))
        )

    assert {answer.status_code for answer in answers} == {201}


@pytest.mark.parametrize("old_bytes", [0, 3_000_000], ids=["as posted", "and larger ones, put by SQL"])
async def test_full_pages_of_large_tasks_end_at_their_bytes_and_lead_to_every_task(
    old_bytes: int, client: httpx2.AsyncClient, table: Table
) -> None:
    ids = [str(await table.put("COMPLETED", payload=incompressible(1_000_000), result=n)) for n in range(12)]
    if old_bytes:
        old = incompressible(old_bytes)
        ids += [str(await table.put("COMPLETED", payload=old, result=old["x"])) for _ in range(3)]

    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await client.get(TASKS, params={"view": "full", "limit": 200, **cursor})
        assert page.status_code == 200
        items = page.json()["items"]
        assert len(items) == 1 or len(page.content) <= limits.PAGE_BYTES
        found += [item["id"] for item in items]
        if page.json()["next_cursor"] is None:
            break
        cursor = {"cursor": page.json()["next_cursor"]}

    assert sorted(found) == sorted(ids)


async def test_numbers_of_three_hundred_digits_are_read_as_they_were_sent(
    client: httpx2.AsyncClient, create: Callable[..., Awaitable[dict[str, Any]]], table: Table
) -> None:
    numbers = [1e308] * 19_990
    task = await create(payload={"x": numbers})

    one = await client.get(f"{TASKS}/{task['id']}")
    (row,) = await table.fetch("SELECT payload_bytes FROM tasks")

    assert one.json()["payload"] == {"x": numbers}
    assert row["payload_bytes"] < 200_000
    assert len(one.content) < 200_000
