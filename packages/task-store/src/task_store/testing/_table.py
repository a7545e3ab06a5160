"""Reads and writes rows by SQL, without the store. For tests."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from uuid_utils.compat import uuid7

from task_contracts import TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, Presence
from task_store._connecting import open_engine
from task_store._models import Base
from task_store.schema import SCHEMA_REVISION

_SECONDS = 60.0

Row = dict[str, Any]


async def create_tables(url: str) -> None:
    """Create the tables in an empty database, as the migrations do: for `prepare_database`."""
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


async def connect_past_store(url: str) -> asyncpg.Connection:
    """Open a connection of a test's own, on which JSON is read and written as Python's values."""
    connection = await asyncpg.connect(url, timeout=_SECONDS, command_timeout=_SECONDS)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    return connection


class Table:
    """The rows of one database: put as a test wants them, read as they are.

    A timedelta given for a column stands for a time: that long from now, by the database's clock.

    Args:
        connection: as `connect_past_store` opens it.

    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def now(self) -> datetime:
        """Return the database's time."""
        now: datetime = await self.connection.fetchval("SELECT clock_timestamp()")
        return now

    async def put(self, status: TaskStatus = TaskStatus.NEW, **columns: Any) -> UUID:
        """Insert a task: due for a minute, with what a row of its status must hold, and the sizes of its JSON."""
        row = {"id": uuid7(), **_a_task(status), **_required(status), **_sizes(columns), **columns}
        await self._insert("tasks", row)
        return UUID(str(row["id"]))

    async def fill(self, count: int, **columns: Any) -> list[UUID]:
        """Insert many NEW tasks at once, in the order of their ids; jsonb columns keep their defaults."""
        row = await self._values({**_a_task(TaskStatus.NEW), **columns})
        ids: list[UUID] = [uuid7() for _ in range(count)]
        records = [(task_id, *row.values()) for task_id in ids]
        await self.connection.copy_records_to_table("tasks", columns=["id", *row], records=records)
        return ids

    async def running(self, worker_id: UUID, **columns: Any) -> UUID:
        """Insert a task that a worker holds."""
        return await self.put(TaskStatus.IN_PROGRESS, worker_id=worker_id, **columns)

    async def worker(self, **columns: Any) -> UUID:
        """Insert a worker: alive, ticking and steady."""
        defaults = {
            "id": uuid7(),
            "queues": ["default"],
            "types": ["echo"],
            "started_at": timedelta(hours=-1),
            "expires_at": timedelta(minutes=1),
            "ticked_at": timedelta(seconds=-1),
            "steady_since": timedelta(hours=-1),
            "reaches_broker": True,
            "schema_revision": SCHEMA_REVISION,
        }
        row = {**defaults, **columns}
        await self._insert("workers", row)
        return UUID(str(row["id"]))

    async def dead_worker(self, **columns: Any) -> UUID:
        """Insert a worker that was declared dead."""
        return await self.worker(expires_at=timedelta(minutes=-1), dead_at=timedelta(seconds=-30), **columns)

    async def task(self, task_id: UUID) -> Row | None:
        """Return a task as it stands; None if there is none of this id."""
        found = await self.connection.fetchrow("SELECT * FROM tasks WHERE id = $1", task_id)
        return None if found is None else dict(found)

    async def status(self, task_id: UUID) -> str | None:
        """Return the status of a task; None if there is none of this id."""
        status: str | None = await self.connection.fetchval("SELECT status FROM tasks WHERE id = $1", task_id)
        return status

    async def count(self, *statuses: str) -> int:
        """Return how many tasks have one of these statuses."""
        return int(await self.connection.fetchval("SELECT count(*) FROM tasks WHERE status = ANY($1)", list(statuses)))

    async def attempts(self, task_id: UUID) -> list[Row]:
        """Return what is kept of the attempts that did not complete, in their order."""
        return await self.fetch("SELECT * FROM task_attempts WHERE task_id = $1 ORDER BY attempt", task_id)

    async def set(self, table: str, row_id: UUID, **columns: Any) -> None:
        """Write into one row of the table named."""
        values = await self._values(columns)
        assigned = ", ".join(f"{name} = ${place}" for place, name in enumerate(values, 2))
        await self.execute(f"UPDATE {table} SET {assigned} WHERE id = $1", row_id, *values.values())  # noqa: S608 # a test's

    async def fetch(self, query: str, *values: Any) -> list[Row]:
        """Run any query and return its rows."""
        return [dict(row) for row in await self.connection.fetch(query, *values)]

    async def execute(self, query: str, *values: Any) -> None:
        """Run any statement."""
        await self.connection.execute(query, *values)

    async def clear(self) -> None:
        """Delete all rows."""
        for table in reversed(Base.metadata.sorted_tables):
            await self.execute(f"DELETE FROM {table.name}")  # noqa: S608 # our own names

    async def _insert(self, table: str, row: Row) -> None:
        values = await self._values(row)
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        names = ", ".join(values)
        await self.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *values.values())  # noqa: S608 # a test's

    async def _values(self, columns: Row) -> Row:
        now = await self.now()
        return {name: now + value if isinstance(value, timedelta) else value for name, value in columns.items()}


def _a_task(status: TaskStatus) -> Row:
    return {
        "name": "a task",
        "type": "echo",
        "queue": "default",
        "priority": "MEDIUM",
        "status": status,
        "created_at": timedelta(hours=-1),
        "due_at": timedelta(minutes=-1),
        "payload_bytes": len("{}"),
    }


def _sizes(columns: Row) -> Row:
    return {
        f"{name}_bytes": len(json.dumps(columns[name]))
        for name in ("payload", "result", "checkpoint")
        if name in columns
    }


def _required(status: TaskStatus) -> Row:
    values = {
        "started_at": timedelta(minutes=-30),
        "worker_id": uuid4(),
        "lease_token": uuid4(),
        "finished_at": timedelta(minutes=-10),
        "error": {"code": "handler_error", "message": "an earlier one", "type": None},
    }
    return {name: value for name, value in values.items() if COLUMN_RULES[name][status] is Presence.ALWAYS}
