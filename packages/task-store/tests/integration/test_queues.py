"""The queues that exist: added by each API, never removed, written only where something is new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from task_store import Database, NotExecutedError, Queues

ALL = "SELECT name, default_type, xmin FROM queues ORDER BY name"


async def test_queues_are_added_and_stay(database: Database, table: Any) -> None:
    queues = Queues(database)

    await queues.add(["default", "reports"], default_type="echo")
    await queues.add(["mails"], default_type=None)

    rows = await table.fetch(ALL)
    assert [(row["name"], row["default_type"]) for row in rows] == [
        ("default", "echo"),
        ("mails", None),
        ("reports", "echo"),
    ]


async def test_what_is_there_already_is_not_written_again(database: Database, table: Any) -> None:
    queues = Queues(database)
    await queues.add(["default", "reports"], default_type="echo")
    before = await table.fetch(ALL)

    await queues.add(["reports", "default"], default_type="echo")

    assert await table.fetch(ALL) == before


async def test_the_default_type_of_the_last_api_counts(database: Database, table: Any) -> None:
    queues = Queues(database)
    await queues.add(["default", "reports"], default_type="echo")

    await queues.add(["default"], default_type=None)

    rows = await table.fetch(ALL)
    assert [(row["name"], row["default_type"]) for row in rows] == [("default", None), ("reports", "echo")]


async def test_two_apis_that_start_at_once_add_theirs_in_one_order(
    database: Database,
    table: Any,
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    waiting_for_lock: Callable[[int], Awaitable[None]],
) -> None:
    other = await connect()  # not the one that looks for locks: it would see one moment throughout its transaction
    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("INSERT INTO queues VALUES ('b', 'other')")
        group.create_task(Queues(database).add(["c", "b", "a"], default_type="echo"))
        await waiting_for_lock(1)
        await other.execute("INSERT INTO queues VALUES ('c', 'other')")  # else each would now wait for the other

    rows = await table.fetch(ALL)
    assert [(row["name"], row["default_type"]) for row in rows] == [("a", "echo"), ("b", "echo"), ("c", "echo")]


async def test_on_a_database_that_is_read_only_what_is_there_is_enough(database: Database) -> None:
    await Queues(database).add(["default"], default_type="echo")

    async with Database(f"{database.url}?options=-c%20default_transaction_read_only%3Don") as standby:
        await Queues(standby).add(["default"], default_type="echo")
        with pytest.raises(NotExecutedError):
            await Queues(standby).add(["reports"], default_type="echo")
