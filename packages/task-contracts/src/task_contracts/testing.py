"""Factories for tests: valid objects, of which a test gives only the fields that it is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from task_contracts._enums import Priority, TaskStatus
from task_contracts._schemas import Task, TaskCreate

A_MOMENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def a_create(**fields: Any) -> TaskCreate:
    """Return a request for a task named "a task". Any field can be given."""
    return TaskCreate(**{"name": "a task", **fields})


def a_task(**fields: Any) -> Task:
    """Return a task as the API shows it, NEW by default. Any field can be given."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "name": "a task",
        "type": "echo",
        "queue": "default",
        "priority": Priority.MEDIUM,
        "status": TaskStatus.NEW,
        "attempt": 0,
        "version": 1,
        "created_at": A_MOMENT,
        "due_at": A_MOMENT,
    }
    return Task(**{**defaults, **fields})


def an_id() -> UUID:
    """Return an id that no task has."""
    return uuid4()
