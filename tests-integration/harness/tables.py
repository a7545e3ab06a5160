"""The tables as they are, read without the project's own code."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import asyncpg

_SECONDS = 20.0

Row = dict[str, Any]


class Tables:
    """The tables of one database. Each call has a connection of its own, so that it outlives any fault."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def tasks(self) -> list[Row]:
        """Return all tasks, oldest first."""
        return await self.rows("SELECT * FROM tasks ORDER BY id")

    async def task(self, task_id: UUID) -> Row:
        """Return one task."""
        (row,) = await self.rows("SELECT * FROM tasks WHERE id = $1", task_id)
        return row

    async def attempts(self) -> list[Row]:
        """Return all attempts that did not complete."""
        return await self.rows("SELECT * FROM task_attempts ORDER BY task_id, attempt")

    async def workers(self) -> list[Row]:
        """Return all workers, the youngest last."""
        return await self.rows("SELECT * FROM workers ORDER BY id")

    async def statuses(self) -> Counter[str]:
        """Return how many tasks are in each status."""
        found = await self.rows("SELECT status, count(*) AS tasks FROM tasks GROUP BY status")
        return Counter({row["status"]: row["tasks"] for row in found})

    async def are_all_ended(self) -> bool:
        """Return whether nothing waits or runs."""
        return not {"NEW", "PENDING", "IN_PROGRESS"} & set(await self.statuses())

    async def rows(self, statement: str, *values: object) -> list[Row]:
        """Run any statement and return its rows."""
        connection = await asyncpg.connect(self._url, timeout=_SECONDS, command_timeout=_SECONDS)
        try:
            return [dict(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close(timeout=_SECONDS)
