"""Filled rows are such as the service itself writes: the table's own checks let them in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import RFC_4122

import asyncpg
import pytest
from benchmarks import fill
from benchmarks.servers import Space

from task_store.testing import PrivatePostgres, create_tables


@pytest.fixture
async def connection() -> AsyncIterator[asyncpg.Connection]:
    async with PrivatePostgres() as server:
        await create_tables(server.url())
        connection = await asyncpg.connect(server.url())
        yield connection
        await connection.close()


@pytest.mark.private_servers
async def test_filled_rows_are_complete_and_in_order(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "ROWS", 150)  # several statements
    space = cast("Space", cast("Any", connection))

    await fill.ended(space, 400)
    await fill.waiting(space, 7, age=timedelta(minutes=10), filler_bytes=1_000)

    rows = await connection.fetch("SELECT * FROM tasks ORDER BY id")
    ended, waiting = rows[:400], rows[400:]
    assert {row["status"] for row in waiting} == {"NEW"}
    assert [json.loads(row["payload"])["number"] for row in waiting] == [*range(7)]
    assert {len(json.loads(row["payload"])["filler"]) for row in waiting} == {1_000}
    assert len({row["payload"][12:] for row in waiting}) == 7, "each filler is another one"
    assert all(row["payload_bytes"] == len(row["payload"]) for row in rows)
    assert all(row["due_at"] < datetime.now(UTC) - timedelta(minutes=10) for row in waiting)
    assert [row["due_at"] for row in rows] == sorted(row["due_at"] for row in rows)
    assert {(row["id"].version, row["id"].variant) for row in rows} == {(7, RFC_4122)}
    counts = {status: sum(row["status"] == status for row in ended) for status in ("FAILED", "CANCELLED", "COMPLETED")}
    assert counts == {"FAILED": 8, "CANCELLED": 4, "COMPLETED": 388}
    assert all(row["finished_at"] < datetime.now(UTC) - fill.ENDED_AGE + timedelta(seconds=1) for row in ended)
    outcomes = await connection.fetch("SELECT outcome FROM task_attempts JOIN tasks ON id = task_id")
    assert sorted(row["outcome"] for row in outcomes) == ["CONFIRM_CANCEL"] * 4 + ["FAIL"] * 8
