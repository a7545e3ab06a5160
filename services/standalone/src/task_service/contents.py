"""Counts what a database of the task service holds, for what `backup` and `restore` print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from task_contracts import TaskStatus
from task_store import Database, DatabaseFacts, Tasks

_COUNT_SECONDS = 600.0
"""The deadline of the count, enough for some hundred million tasks."""


@dataclass(frozen=True)
class Contents:
    """How many tasks a database holds, its schema, and its server. `revision` is None where there is no schema."""

    tasks_by_status: Mapping[TaskStatus, int]
    revision: str | None
    facts: DatabaseFacts

    @classmethod
    async def read(cls, url: str) -> Contents:
        """Read the contents of the database at `url`.

        Raises:
            StoreError: the database cannot be used, or its schema is none of this service.

        """
        async with Database(url, pool_size=1, deadline_seconds=_COUNT_SECONDS) as database:
            revision = await database.revision()
            tasks = {} if revision is None else await Tasks(database).count_by_status()
            return cls(tasks, revision, await database.facts())

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return sum(self.tasks_by_status.values())

    @property
    def running(self) -> int:
        """How many of them are IN_PROGRESS."""
        return self.tasks_by_status.get(TaskStatus.IN_PROGRESS, 0)

    def __str__(self) -> str:
        """Return it as one line for people."""
        parts = [f"{self.tasks_by_status[one]:,} {one}" for one in TaskStatus if one in self.tasks_by_status]
        tasks = f"{self.tasks:,} task{'' if self.tasks == 1 else 's'}" + (f" ({', '.join(parts)})" if parts else "")
        return f"{tasks}, schema {self.revision}, PostgreSQL {self.facts.version}"
