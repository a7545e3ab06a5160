"""The queues that exist, for `create_task()`, the SQL function that creates a task in a caller's own transaction.

The API knows them from its settings; the function, which runs in the database, needs them there.
"""

from __future__ import annotations

from collections.abc import Sequence

from task_store._statements import queues
from task_store.database import Database


class Queues:
    """The queues in the database. Many asyncio tasks may use one at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, names: Sequence[str], *, default_type: str | None) -> None:
        """Add queues, each with the type of a task that names none; None if a task must name one.

        What is there already is only read, so that a process may start on a database that is read-only. No queue is
        removed: other processes, and transactions under way, may use it. Safe to repeat.

        Raises:
            StoreError: see `task_store.errors`. Repeat it.

        """
        rows = await self._database.fetch(queues.QUEUES)
        known = {row["name"]: row["default_type"] for row in rows}
        lacking = [name for name in names if name not in known or known[name] != default_type]
        if lacking:
            await self._database.fetch(queues.ADD_QUEUES, {"name": lacking, "default_type": default_type})
