"""Frozen records that the store takes and returns, beside the schemas of `task_contracts`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, Self
from uuid import UUID

import orjson

from task_contracts import (
    FailureKind,
    JsonValue,
    Priority,
    SortOrder,
    Task,
    TaskCreate,
    TaskError,
    TaskStatus,
    TaskSummary,
)
from task_contracts.lifecycle import Event
from task_store._row import Row
from task_store.batch_limit import text_bytes
from task_store.stored_json import read_json, read_labels, read_object


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be created: the caller's request, the type, which is decided by then, and where it is traced."""

    asked: TaskCreate
    type: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What tells a repeat of a request from another request.

    Args:
        key: as the caller sent it (`task_contracts.IdempotencyKey`).
        request_hash: the SHA-256 of what was asked for, 32 bytes.
        scope: within which the key is unique.

    """

    key: str
    request_hash: bytes
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """A task that a request with a key created: this one, or an earlier one that it repeats."""

    task: Task
    is_replay: bool


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """The tasks of a batch in its order, created by this request or by an earlier one that it repeats."""

    items: tuple[TaskSummary, ...]
    is_replay: bool


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows. An empty set or None filters nothing.

    `ids` are at most `limits.FILTER_IDS_MAX`. A task must have all pairs (key, value) of `labels`. `name` is a part of
    the name, in upper or lower case. `created_from` is inclusive, `created_to` exclusive. `idempotency_key` is the key
    of the request that created the task, alone or in a batch, within `scope`. `fingerprint` is that of the failure with
    which a task ended. `worker_id` is the worker that runs the task now. `finished_from` is inclusive, `finished_to`
    exclusive. `id_prefix` is the beginning of an id, 8 to 32 hex digits. `after` is the last id of the page before.
    """

    ids: tuple[UUID, ...] = ()
    statuses: frozenset[TaskStatus] = frozenset()
    priorities: frozenset[Priority] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    type: str | None = None
    queue: str | None = None
    name: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    idempotency_key: str | None = None
    scope: str = ""
    fingerprint: str | None = None
    worker_id: UUID | None = None
    finished_from: datetime | None = None
    finished_to: datetime | None = None
    id_prefix: str | None = None
    order: SortOrder = SortOrder.NEWEST
    after: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, and the id after which the next page begins; None on the last page."""

    items: tuple[TaskSummary, ...]
    next_after: UUID | None


@dataclass(frozen=True, slots=True)
class Total:
    """How many tasks match. If `is_capped`, there may be more."""

    count: int
    is_capped: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A task after a caller's request, and the event that happened to it; None if its status allowed none."""

    task: Task
    event: Event | None


@dataclass(frozen=True, slots=True)
class AuditContext:
    """Who asks for a change that is written into the audit.

    Args:
        actor: the owner of the key; '' without keys.
        request_id: of the request, if there is one.
        filter: of a change of many tasks, which ones, as it was sent.

    """

    actor: str = ""
    request_id: str | None = None
    filter: dict[str, Any] | None = None


NOBODY = AuditContext()
"""Who asks where nobody is named."""


@dataclass(frozen=True, slots=True)
class ChangedMany:
    """What one call has changed of many tasks: the event of each, and the queues that they are in.

    `next_after` is the id after which the next call goes on, None if nothing is left. `began_at` is the database's time
    of the first call, which each further one is given.
    """

    event_by_id: dict[UUID, Event]
    queues: frozenset[str]
    began_at: datetime
    next_after: UUID | None


@dataclass(frozen=True, slots=True)
class CountedMany:
    """To how many tasks each event could happen, at the database's time `began_at`.

    If `is_capped`, there may be more.
    """

    count_by_event: dict[Event, int]
    is_capped: bool
    began_at: datetime


@dataclass(frozen=True, slots=True)
class LostWorker:
    """A worker whose lease ran out, and where it ran: its host and process."""

    id: UUID
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker offers: each of its types on each of its queues.

    `schema_by_type` has the JSON Schema of the payload, or None for a handler that takes any payload.
    """

    queues: tuple[str, ...]
    schema_by_type: dict[str, dict[str, Any] | None]

    @property
    def types(self) -> list[str]:
        """The names of the types, sorted."""
        return sorted(self.schema_by_type)

    @property
    def schema_hashes(self) -> list[str]:
        """The hashes of their schemas, in the order of `types`."""
        return [schema_hash(self.schema_by_type[type_]) for type_ in self.types]


def schema_hash(schema: dict[str, Any] | None) -> str:
    """Return what tells two versions of a type apart: a hash of its schema, in which the order of keys counts nothing.

    The empty string for None.
    """
    if schema is None:
        return ""
    return sha256(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """What a worker says of its process. `slots` is how many tasks it runs at once."""

    host: str = ""
    pid: int = 0
    version: str = ""
    slots: int = 0


class Claim(NamedTuple):
    """A task that a worker has claimed. Every later write of the worker must carry the lease token.

    `checkpoint_text` is what an earlier attempt of this run has stored last; None if there is nothing.
    """

    id: UUID
    name: str
    type: str
    queue: str
    priority: Priority
    labels_text: str
    payload_text: str
    checkpoint_text: str | None
    attempt: int
    failures: int
    rerun_count: int
    timeout_seconds: float | None
    max_attempts: int | None
    lease_token: UUID
    created_at: datetime
    due_at: datetime
    started_at: datetime
    lost_count: int = 0
    traceparent: str | None = None

    @property
    def body_bytes(self) -> int:
        """The size of the texts of payload and checkpoint in UTF-8."""
        return text_bytes(self.payload_text, self.checkpoint_text)

    @property
    def labels(self) -> dict[str, str]:
        """The labels, parsed at each call. Errors as for `payload`."""
        return read_labels("labels", self.labels_text)

    @property
    def payload(self) -> dict[str, JsonValue]:
        """The payload, parsed at each call.

        Raises:
            UnreadableJsonError: it was stored by other hands, and cannot be read.

        """
        return read_object("payload", self.payload_text)

    @property
    def checkpoint(self) -> JsonValue:
        """The checkpoint, parsed at each call; None if there is none. Errors as for `payload`."""
        return None if self.checkpoint_text is None else read_json("checkpoint", self.checkpoint_text)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought, and the ids that it left for size: they are the worker's to ask for in the next claim."""

    claims: list[Claim] = field(default_factory=list)
    left: list[UUID] = field(default_factory=list)


class AttemptKey(Protocol):
    """What identifies one attempt: the task's id and the token of its claim."""

    @property
    def id(self) -> UUID:
        """The task."""

    @property
    def lease_token(self) -> UUID:
        """The token of the claim."""


class Ending(NamedTuple):
    """How a worker asks for an attempt to end.

    Make one by one of the five constructors: they allow no wrong combination. If a cancel was requested, the database
    makes CONFIRM_CANCEL of every event but COMPLETE.
    """

    id: UUID
    lease_token: UUID
    event: Event
    result: str | None = None
    error: TaskError | None = None
    traceback: str | None = None
    delay: timedelta = timedelta()
    kind: FailureKind | None = None

    @property
    def size_bytes(self) -> int:
        """The size of result, traceback and the error's message in UTF-8."""
        return text_bytes(self.result, self.traceback, self.error.message if self.error else None)

    @classmethod
    def complete(cls, key: AttemptKey, result: str | None) -> Ending:
        """End as COMPLETED. `result` is JSON text that `check_json` accepted, or None."""
        return cls(key.id, key.lease_token, Event.COMPLETE, result=result)

    @classmethod
    def retry(
        cls,
        key: AttemptKey,
        error: TaskError,
        *,
        after: timedelta,
        traceback: str | None = None,
        kind: FailureKind | None = None,
    ) -> Ending:
        """Count a failure of this kind; the task is due again `after` this."""
        return cls(key.id, key.lease_token, Event.RETRY, error=error, traceback=traceback, delay=after, kind=kind)

    @classmethod
    def fail(
        cls, key: AttemptKey, error: TaskError, *, traceback: str | None = None, kind: FailureKind | None = None
    ) -> Ending:
        """Count a failure and end as FAILED; the row keeps the fingerprint of its kind."""
        return cls(key.id, key.lease_token, Event.FAIL, error=error, traceback=traceback, kind=kind)

    @classmethod
    def snooze(cls, key: AttemptKey, *, after: timedelta) -> Ending:
        """Wait as the handler asked: the task is due again `after` this; its failures and losses are forgotten."""
        return cls(key.id, key.lease_token, Event.SNOOZE, delay=after)

    @classmethod
    def release(cls, key: AttemptKey, *, after: timedelta = timedelta()) -> Ending:
        """Give the task back without counting a failure; it is due again `after` this."""
        return cls(key.id, key.lease_token, Event.RELEASE, delay=after)


class Ended(NamedTuple):
    """An attempt that has ended, by `event`."""

    id: UUID
    lease_token: UUID
    event: Event
    type: str
    attempt: int
    worker_id: UUID
    lost_count: int

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the attempt that a row of RECORD or SWEEP is about; the row may have more columns."""
        return cls(
            row["id"],
            row["lease_token"],
            Event(row["event"]),
            row["type"],
            row["attempt"],
            row["worker_id"],
            row["lost_count"],
        )


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A task that a worker holds, as the database has it."""

    id: UUID
    lease_token: UUID
    is_cancel_requested: bool


class Lane(NamedTuple):
    """The waiting tasks of one queue, priority and type: what one step of a scan reads, in the order of due_at."""

    queue: str
    priority: Priority
    type: str


@dataclass(frozen=True, slots=True)
class MarkedTask:
    """A task that the leader has marked and now publishes."""

    id: UUID
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class OldTask:
    """A task that ended long ago, with the bytes of its payload, result, checkpoint and tracebacks."""

    id: UUID
    finished_at: datetime
    body_bytes: int


@dataclass(frozen=True, slots=True)
class DispatchQuota:
    """How many tasks of one broker queue the leader may mark now."""

    queue: str
    priority: Priority
    ids: int


@dataclass(frozen=True, slots=True)
class LiveOffers:
    """What live workers offer: the types of each queue, and how many workers serve it."""

    types_by_queue: dict[str, tuple[str, ...]]
    workers_by_queue: dict[str, int]
