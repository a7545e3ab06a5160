"""What those who watch tasks read of them: never a payload or a result.

`Changes.read` is asked for the tasks of all watchers together, so the number of watchers costs no statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from task_contracts import TaskState
from task_store._row import Row
from task_store._statements import changes
from task_store._task_rows import read_column, shown
from task_store.batch_limit import BATCH_BYTES
from task_store.database import Database
from task_store.records import TaskFilter

UNKNOWN_VERSION = -1
"""For a task that is returned whatever its version is."""
GONE_VERSION = 0
"""For a task that is known not to exist."""
FIRST_ID = UUID(int=0)
"""Below every id."""


@dataclass(frozen=True, slots=True)
class WatchedTask:
    """The state of a task, and what filters look at beside it."""

    state: TaskState
    type: str
    queue: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChangedTasks:
    """What `Changes.read` returns: the tasks at another version, and the ids of no task, by the clock `now`.

    Only the first `answered` ids were answered: what changed of the others did not fit into one answer.
    """

    now: datetime
    tasks: tuple[WatchedTask, ...]
    gone: tuple[UUID, ...]
    answered: int


@dataclass(frozen=True, slots=True)
class FinishedTask:
    """A task that has ended: as much as says whether it was seen before."""

    id: UUID
    version: int
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class PresentTasks:
    """The states of the tasks that match a filter. If `is_cut`, there are or may be others."""

    now: datetime
    states: tuple[TaskState, ...]
    is_cut: bool


class Changes:
    """Reads what has changed. Nothing is written, so every call may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, version_by_id: Mapping[UUID, int]) -> ChangedTasks:
        """Return those of these tasks that are at another version than the one given, in the order given.

        Args:
            version_by_id: some hundred tasks with the version last seen, or `UNKNOWN_VERSION`, or `GONE_VERSION`. None
                asks for the time alone.

        """
        ids = list(version_by_id)
        values = {"id": ids, "version": list(version_by_id.values()), "bytes": BATCH_BYTES}
        rows = await self._database.fetch(changes.CHANGED, values)
        now, found = rows[0]["now"], [row for row in rows if row["asked_id"] is not None]
        return ChangedTasks(
            now,
            tuple(_watched(row) for row in found if row["id"] is not None),
            tuple(row["asked_id"] for row in found if row["id"] is None),
            len(ids) if not found or found[0]["changed"] == len(found) else found[-1]["place"],
        )

    async def finished(
        self, after: datetime, after_id: UUID = FIRST_ID, *, rows: int
    ) -> tuple[datetime, Sequence[FinishedTask]]:
        """Return the database's time, and up to `rows` tasks that ended after (`after`, `after_id`), earliest first."""
        found = await self._database.fetch(
            changes.FINISHED, {"after_finished_at": after, "after_id": after_id, "rows": rows}
        )
        now = found[0]["now"]
        tasks = [FinishedTask(row["id"], row["version"], row["finished_at"]) for row in found if row["id"] is not None]
        return now, tasks

    async def present(self, wanted: TaskFilter, since: datetime, *, items: int) -> PresentTasks:
        """Return up to `items` of the tasks that match and have not ended, or have ended at `since` or later.

        `wanted.ids` is not heeded: those are read by `read`.
        """
        rows = await self._database.fetch(changes.present(wanted, since, items=items + 1))
        states = tuple(shown(TaskState, row) for row in rows if row["id"] is not None)
        is_cut = rows[0]["is_cut"] or len(states) > items
        return PresentTasks(rows[0]["now"], states[:items], is_cut)


def _watched(row: Row) -> WatchedTask:
    labels = read_column("labels", row["labels"])
    return WatchedTask(shown(TaskState, row), row["type"], row["queue"], labels)
