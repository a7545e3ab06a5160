"""Reads where a task is: what an explanation of it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from task_contracts import Pause, Priority, TaskError, TaskStatus
from task_store._row import Row
from task_store._statements import explain
from task_store._task_rows import read_column
from task_store.database import Database


@dataclass(frozen=True, slots=True)
class Situation:
    """A task at the database's time `now`, and its worker.

    The last six are of the worker that has it or had it last, None where that has no row any more, or does not say.
    `silent_seconds` is None while it renews its lease as it should.
    """

    id: UUID
    status: TaskStatus
    type: str
    queue: str
    priority: Priority
    due_at: datetime
    attempt: int
    failures: int
    lost_count: int
    timeout_seconds: float | None
    error: TaskError | None
    cancel_requested_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker_id: UUID | None
    now: datetime
    host: str | None
    pid: int | None
    expires_at: datetime | None
    dead_at: datetime | None
    draining_at: datetime | None
    silent_seconds: float | None


@dataclass(frozen=True, slots=True)
class Wait:
    """What a task that is due waits for.

    Args:
        ahead: how many of its queue, priority and type are due before it; at most `limits.AHEAD_MAX` + 1.
        takers, draining: live workers of its queue that take tasks, and that take no more.
        offering: those that take tasks and offer its type.
        reaching_broker: those of them that reach the broker, as far as they have said.
        free_slots: of those that offer it, at their latest renewals.
        types: what those that take tasks offer, where that is not its own type.
        pause: what keeps it from beginning; None: nothing does.

    """

    ahead: int
    takers: int
    draining: int
    offering: int
    reaching_broker: int
    free_slots: int
    types: tuple[str, ...]
    pause: Pause | None = None


_COUNTS = ("ahead", "takers", "draining", "offering", "reaching_broker", "free_slots")


class Situations:
    """Reads where tasks are, each by an index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, task_id: UUID) -> Situation | None:
        """Return where a task is, or None if there is none with this id."""
        rows = await self._database.fetch(explain.TASK, {"task_id": task_id})
        if not rows:
            return None
        return Situation(**{name: read_column(name, value) for name, value in rows[0].items()})

    async def wait(self, task: Situation) -> Wait:
        """Return what a task that is due waits for. It may have moved on since its situation was read."""
        values = {
            "task_id": task.id,
            "queue": task.queue,
            "priority": str(task.priority),
            "type": task.type,
            "due_at": task.due_at,
        }
        (row,) = await self._database.fetch(explain.WAIT, values)
        return Wait(**{name: row[name] for name in _COUNTS}, types=tuple(row["types"] or ()), pause=_pause(row))


def _pause(row: Row) -> Pause | None:
    fields = {name: row[f"{explain.PAUSE_PREFIX}{name}"] for name in Pause.model_fields}
    return None if fields["id"] is None else Pause.model_validate(fields)
