"""The answers of the calls that say what happened and why: attempts, explain, stats, queues, errors, workers, types."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from task_contracts._enums import Priority, TaskStatus
from task_contracts._schemas import TaskError

OTHER_TYPE = "other"
"""Stands in counts for every type that no worker offers: a caller's words must not make rows without end."""
LENIENT_SCHEMA = "x-lenient"
"""A keyword of a payload's JSON Schema. True: the worker also takes payloads that the schema does not describe."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


Item = TypeVar("Item")


class ItemList(_Answer, Generic[Item]):
    """A list that is short enough for one answer."""

    items: list[Item]


class Attempt(_Answer):
    """One attempt of a task. Numbers have gaps where the task snoozed."""

    attempt: int = Field(ge=1, description="Counted from 1, all runs together.")
    outcome: str | None = Field(
        description="How it ended: an event of the life cycle. None: it runs.", examples=["RETRY"]
    )
    worker_id: UUID
    host: str | None = Field(default=None, description="Where its worker ran; None where that is no longer known.")
    pid: int | None = Field(default=None, description="The process of its worker.")
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    error: TaskError | None = None
    traceback: str | None = Field(default=None, description="Of the exception, as Python prints it.")


class Reason(StrEnum):
    """Why a task is where it is: a word to act on."""

    NOT_DUE = "not_due"
    """It waits for its time: as its caller asked, or put off by its handler."""
    RETRY_NOT_DUE = "retry_not_due"
    """An attempt has failed; the next one is not due yet."""
    PAUSED = "paused"
    """It is due, and a pause keeps it from beginning (`GET /pauses`)."""
    NO_WORKER = "no_worker"
    """It is due, and no live worker takes tasks of its queue."""
    NO_WORKER_OFFERS_TYPE = "no_worker_offers_type"
    """It is due; of the live workers that take tasks of its queue none offers its type."""
    SUSPECT = "suspect"
    """It is due, and two workers were lost while they ran it: workers take it singly, from the table."""
    BROKER_DOWN = "broker_down"
    """It is due, and no worker that offers its type reaches the broker: the poll takes it from the table."""
    BEHIND_OTHERS = "behind_others"
    """It is due, and others of its queue, priority and type are due before it."""
    NEXT = "next"
    """It is due, and none of its queue, priority and type is due before it."""
    RUNNING = "running"
    WORKER_SILENT = "worker_silent"
    """It runs, as far as is known: its worker has missed renewals of its lease, and is lost if it stays silent."""
    CANCEL_REQUESTED = "cancel_requested"
    """It runs, and was asked to stop."""
    NOT_STOPPING = "not_stopping"
    """It runs, although it was asked to stop, or the time limit of the task (not of its handler) was over, long ago."""
    LEASE_OVER = "lease_over"
    """Its worker is gone or silent: the sweep brings it back or ends it."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Explanation(_Answer):
    """Why a task is where it is, in one sentence, and the facts behind it."""

    task_id: UUID
    status: TaskStatus
    reason: Reason
    sentence: str = Field(
        description="For people.", examples=["Waits: no live worker offers the type report.build in the queue default."]
    )
    due_at: AwareDatetime | None = None
    due_in_seconds: float | None = Field(default=None, description="Of a waiting task: until it is due; not below 0.")
    ahead: int | None = Field(default=None, description="Tasks of its queue, priority and type that are due before it.")
    ahead_is_capped: bool | None = Field(default=None, description="Whether there may be more than `ahead`.")
    similar_types: list[str] = Field(
        default_factory=list, description="Types on offer whose names are like its own, where none is its own."
    )
    pause_id: UUID | None = Field(default=None, description="The pause that keeps it from beginning.")
    worker_id: UUID | None = None
    host: str | None = None
    pid: int | None = None
    since: AwareDatetime | None = Field(default=None, description="Since when it runs, or when it ended.")


class Activity(_Answer):
    """What happened to tasks within the last whole minutes of the clock: it is shown up to 70 s later."""

    seconds: int = Field(description="How long before the minute that runs is counted.", examples=[300])
    accepted: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    mean_wait_seconds: float | None = Field(default=None, description="From due to started. None: none started.")
    mean_run_seconds: float | None = Field(
        default=None, description="Of attempts that completed or failed with more to come. None: there were none."
    )


class PriorityState(_Answer):
    """What waits and runs of one priority of a queue."""

    priority: Priority
    waiting: int = Field(description="Tasks that are due and not begun.")
    waiting_is_capped: bool = Field(description="Whether there are, or may be, more than `waiting`.")
    running: int
    oldest_due_at: AwareDatetime | None = Field(default=None, description="Since when the oldest of them is due.")
    oldest_wait_seconds: float | None = None
    at: AwareDatetime = Field(description="When this was counted, or the older part of it.")


class QueueState(_Answer):
    """What waits and runs in a queue."""

    queue: str
    waiting: int
    waiting_is_capped: bool
    running: int
    oldest_wait_seconds: float | None = None
    live_workers: int = Field(description="Workers that take tasks from it.")
    slots: int = Field(description="Tasks that they run at once.")
    priorities: list[PriorityState]


class Stats(_Answer):
    """The whole service in one look. What waits and runs is some ten seconds old; of the rates see `Activity`."""

    at: AwareDatetime | None = Field(
        description="When waiting and running were counted. None: no leader has counted yet."
    )
    waiting: int
    waiting_is_capped: bool
    running: int
    oldest_wait_seconds: float | None = None
    live_workers: int
    slots: int
    rates: list[Activity] = Field(description="Over the last 1, 5 and 15 whole minutes; not the minute that runs.")


class Demand(_Answer):
    """How many workers a queue wants: for autoscalers."""

    queue: str
    demand: int = Field(description="`running` and `waiting` together.")
    waiting: int = Field(description="Tasks that are due and not begun.")
    running: int
    oldest_wait_seconds: float | None = None
    desired_workers: int = Field(description="So many begin all of it within the target; while none lives, 1 or 0.")


class ErrorGroup(_Answer):
    """Failures of the last day that have type, exception and place in common."""

    fingerprint: str = Field(description="To list them, or to rerun them all.", examples=["4f0c2b9a1d3e5f60"])
    type: str
    exception: str
    frame: str = Field(description="The first place of the handler's own code.", examples=["reports.build in render"])
    message: str = Field(description="Of the latest.")
    count: int = Field(description="Failed attempts, not tasks: one task may count several times.")
    first_at: AwareDatetime
    last_at: AwareDatetime
    example_id: UUID


class WorkerInfo(_Answer):
    """A live worker."""

    id: UUID
    host: str
    pid: int
    version: str
    queues: list[str]
    types: list[str]
    slots: int = Field(description="Tasks that it runs at once.")
    in_flight: int = Field(description="Tasks that it had at its latest renewal of its lease.")
    started_at: AwareDatetime
    lease_expires_at: AwareDatetime
    lease_remaining_seconds: float
    silent_seconds: float | None = Field(
        default=None,
        description="Since it was last heard of, once that is a third of its lease: it may be gone.",
    )
    is_leader: bool
    draining: bool
    reaches_broker: bool = Field(description="True too before it has said so, at its first election.")


class TypeInfo(_Answer):
    """A type that workers offer, with what its payload must be. Of several versions on offer each stands by itself."""

    type: str
    queue: str
    payload_schema: dict[str, Any] | None = Field(
        default=None,
        description=(
            f"JSON Schema; None: any object. With `{LENIENT_SCHEMA}` workers take more than it says, such as fields by"
            " another name."
        ),
    )
    last_offered_at: AwareDatetime
    live_workers: int = Field(description="Workers that offer this version and take tasks.")


class Version(_Answer):
    """What runs here."""

    version: str = Field(description="Of task-api.", examples=["0.1.0"])
    python: str
    schema_revision: str | None = Field(description="Of the database. None: it does not answer, or has no schema.")
