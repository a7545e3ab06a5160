"""What goes in and out of the repositories beside the schemas of `task_contracts`: frozen, and made in one way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from task_contracts import JsonValue, Priority, SortOrder, Task, TaskCreate, TaskError, TaskStatus, TaskSummary
from task_contracts.lifecycle import Event


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be created: what the caller asked, with the type decided."""

    asked: TaskCreate
    type: str


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows. An empty set, or None, lets all through.

    `labels` are (key, value) pairs that must all be there; `name` is a part of the name, in any case;
    `created_from` is inclusive, `created_to` exclusive; `after` is the id that the page before ended with.
    """

    statuses: frozenset[TaskStatus] = frozenset()
    priorities: frozenset[Priority] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    type: str | None = None
    queue: str | None = None
    name: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    order: SortOrder = SortOrder.NEWEST
    after: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, and the id to go on after; None on the last page."""

    items: tuple[TaskSummary, ...]
    next_after: UUID | None


@dataclass(frozen=True, slots=True)
class Total:
    """How many tasks match. Where `is_capped`, there are or may be more."""

    count: int
    is_capped: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A task after a caller's wish, and the event that took place; None where its status allows none."""

    task: Task
    event: Event | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker serves: every one of its types on every one of its queues.

    `schema_by_type` holds the JSON Schema of the payload, or None for a handler that takes any.
    """

    queues: tuple[str, ...]
    schema_by_type: dict[str, dict[str, Any] | None]

    @property
    def types(self) -> list[str]:
        """The names of the types, sorted."""
        return sorted(self.schema_by_type)


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that this worker holds, under a token that every later write must carry."""

    id: UUID
    name: str
    type: str
    queue: str
    priority: Priority
    labels: dict[str, str]
    payload: dict[str, JsonValue]
    attempt: int
    failures: int
    timeout_seconds: float | None
    max_attempts: int | None
    lease_token: UUID


class AttemptKey(Protocol):
    """What names one attempt: the task, and the token under which it was claimed."""

    @property
    def id(self) -> UUID:
        """The task."""

    @property
    def lease_token(self) -> UUID:
        """The token of the claim."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker wants an attempt to end.

    Made by one of the four constructors, so that a wrong combination cannot be written. The database may turn any
    but a completion into CONFIRM_CANCEL.
    """

    id: UUID
    lease_token: UUID
    event: Event
    result: str | None = None
    error: TaskError | None = None
    traceback: str | None = None
    delay: timedelta = timedelta()

    @classmethod
    def complete(cls, key: AttemptKey, result: str | None) -> Ending:
        """End as COMPLETED, with a result as JSON text that `check_json` has let through, or none."""
        return cls(key.id, key.lease_token, Event.COMPLETE, result=result)

    @classmethod
    def retry(cls, key: AttemptKey, error: TaskError, *, after: timedelta, traceback: str | None = None) -> Ending:
        """Count a failure; another attempt follows `after` this."""
        return cls(key.id, key.lease_token, Event.RETRY, error=error, traceback=traceback, delay=after)

    @classmethod
    def fail(cls, key: AttemptKey, error: TaskError, *, traceback: str | None = None) -> Ending:
        """Count a failure and end as FAILED."""
        return cls(key.id, key.lease_token, Event.FAIL, error=error, traceback=traceback)

    @classmethod
    def release(cls, key: AttemptKey, *, after: timedelta = timedelta()) -> Ending:
        """Give the task back as if it had not been tried, to be claimed `after` this."""
        return cls(key.id, key.lease_token, Event.RELEASE, delay=after)


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt whose end is written, by `event`."""

    id: UUID
    lease_token: UUID
    event: Event
    type: str
    attempt: int
    worker_id: UUID
    lost_count: int


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row that the database says this worker holds."""

    id: UUID
    lease_token: UUID
    is_cancel_requested: bool


@dataclass(frozen=True, slots=True)
class DispatchQuota:
    """How many more ids of one broker queue the leader may mark."""

    queue: str
    priority: Priority
    ids: int


@dataclass(frozen=True, slots=True)
class LiveOffers:
    """What the live workers offer: the types of each queue, and how many workers serve it."""

    types_by_queue: dict[str, tuple[str, ...]]
    workers_by_queue: dict[str, int]
