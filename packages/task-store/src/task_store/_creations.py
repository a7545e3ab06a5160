"""Creates tasks: one at a time, gathered with those of other callers, or a batch in one statement.

**Invariants**

- A key has one request at a time: the unique index decides between two, whichever process they came to. The first task
  of a batch has the key itself, so a batch and a single task cannot share one either.
- A batch is stored as a whole or not at all, and so is its repeat.
- What was not inserted is read by a second statement. If it was purged in between, it is inserted after all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from task_contracts import Task, TaskCreate, TaskSummary
from task_contracts.lifecycle import LIFECYCLE, Event
from task_store._batcher import Batcher
from task_store._row import Row
from task_store._statements import create, pages
from task_store._statements.statement import Statement
from task_store._task_rows import of_values, shown
from task_store.batch_limit import text_bytes
from task_store.database import Database
from task_store.errors import ContentionError, KeyExpiredError, KeyMismatchError, UnstorableValuesError
from task_store.records import Created, CreatedBatch, NewTask, RequestKey

_BATCHES_AT_ONCE = 2
"""How many batches are stored at once: the other connections are for everybody else."""
_TRIES = 3
"""How often a request is tried whose tasks were purged between its two statements."""
_KEY_INDEX = "ix_tasks_idempotency_key"

Shown = TypeVar("Shown", Task, TaskSummary)

_BEGINNING: dict[str, Any] = {"status": LIFECYCLE[Event.CREATE].target, "attempt": 0, "version": 1}


_FRESH: dict[type[Task | TaskSummary], dict[str, Any]] = {
    model: {name: field.default for name, field in model.model_fields.items()} | _BEGINNING
    for model in (Task, TaskSummary)
}
"""The fields of a new task in their order: those whose values are known, and the others to be filled in."""
_UNSHOWN = {model: TaskCreate.model_fields.keys() - model.model_fields.keys() for model in _FRESH}
"""What is asked for and not shown."""


@dataclass(frozen=True, slots=True)
class _Creation:
    """A task to be created, under the id that it keeps however often its statement is repeated."""

    id: UUID
    new: NewTask
    labels: bytes
    payload: bytes
    request: RequestKey | None

    @classmethod
    def of(cls, task_id: UUID, new: NewTask, request: RequestKey | None = None) -> _Creation:
        """Return the creation of a task, for a request that has a key or none."""
        return cls(task_id, new, orjson.dumps(new.asked.labels), orjson.dumps(new.asked.payload), request)


class Creations:
    """Creates tasks. `Tasks` says what each method takes, returns and raises."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plain = Batcher(self._insert_plain, size_bytes=_size_bytes)
        # Beside the others: an insert with a key may wait for another process that inserts the same key.
        self._keyed = Batcher(self._insert_keyed, size_bytes=_size_bytes)
        self._batch_turns = asyncio.Semaphore(_BATCHES_AT_ONCE)

    async def create(self, new: NewTask, seconds: float | None) -> Task:
        """Create a task."""
        return await self._plain.submit(_Creation.of(uuid7(), new), seconds=seconds)

    async def create_keyed(self, new: NewTask, request: RequestKey, seconds: float | None) -> Created:
        """Create a task, or return the one that was created with this key."""
        one = _Creation.of(uuid7(), new, request)
        for _ in range(_TRIES):
            created = await self._keyed.submit(one, seconds=seconds)
            if created is not None:
                return Created(created, is_replay=False)
            rows = await self._database.fetch(pages.GET_BY_KEY, _key_parameters(request))
            if rows:
                return Created(_repeated(Task, rows, request)[0], is_replay=True)
        raise _purged_each_time()

    async def create_batch(self, news: Sequence[NewTask], request: RequestKey | None) -> CreatedBatch:
        """Create the tasks of a batch, or return those that were created with this key."""
        async with self._batch_turns:
            ids = sorted(uuid7() for _ in news)  # the order of the tasks, wherever they are listed
            values = _batch_values(ids, news, request)
            for _ in range(_TRIES):
                # What can be made of the answer is made while the database stores them.
                rows, made = await asyncio.gather(self._insert_batch(values), _all_before_stored(ids, news))
                if rows:
                    created_at = rows[0]["created_at"]
                    return CreatedBatch(tuple(_stored(TaskSummary, one, created_at) for one in made), is_replay=False)
                if request is None:
                    break
                rows = await self._database.fetch(pages.GET_BATCH, _key_parameters(request))
                if rows:
                    replayed = _repeated(TaskSummary, rows, request)
                    if len(replayed) < len(news):
                        raise KeyExpiredError("some tasks of the batch that was created with this key were purged")
                    return CreatedBatch(replayed, is_replay=True)
        raise _purged_each_time()

    async def aclose(self) -> None:
        """Wait until every task that is being created has its answer."""
        await self._plain.aclose()
        await self._keyed.aclose()

    async def _insert_plain(self, batch: Sequence[_Creation]) -> list[Task]:
        created_at = await self._insert_gathered(create.CREATE, _columns(batch))
        return [_new(Task, one.id, one.new, created_at[one.id]) for one in batch]

    async def _insert_keyed(self, batch: Sequence[_Creation]) -> list[Task | None]:
        created_at = await self._insert_gathered(create.CREATE_KEYED, _columns(batch) | _key_columns(batch))
        return [_new(Task, one.id, one.new, created_at[one.id]) if one.id in created_at else None for one in batch]

    async def _insert_gathered(self, statement: Statement, values: Mapping[str, Any]) -> dict[UUID, datetime]:
        return {row["id"]: row["created_at"] for row in await self._database.fetch(statement, values)}

    async def _insert_batch(self, values: Mapping[str, Any]) -> Sequence[Row]:
        """Return the one row of a stored batch; none where there is a task of its key."""
        try:
            try:
                return await self._database.fetch(create.CREATE_BATCH, values)
            except ContentionError:
                return await self._database.fetch(create.CREATE_BATCH, values)
        except UnstorableValuesError as error:
            if error.constraint == _KEY_INDEX:  # the first task of an earlier batch was purged, and others were not
                return ()
            raise


def _size_bytes(one: _Creation) -> int:
    return len(one.labels) + len(one.payload) + text_bytes(one.new.asked.name, one.new.asked.description)


def _columns(batch: Sequence[_Creation]) -> dict[str, list[Any]]:
    return {
        **_asked_columns([one.new for one in batch]),
        "traceparent": [one.new.traceparent for one in batch],
        "id": [one.id for one in batch],
        "labels": [one.labels.decode() for one in batch],
        "payload": [one.payload.decode() for one in batch],
    }


def _key_columns(batch: Sequence[_Creation]) -> dict[str, list[Any]]:
    return {
        "idempotency_key": [one.request and one.request.key for one in batch],
        "request_hash": [one.request and one.request.request_hash for one in batch],
        "scope": [one.request.scope if one.request else "" for one in batch],
    }


def _batch_values(ids: Sequence[UUID], news: Sequence[NewTask], request: RequestKey | None) -> dict[str, Any]:
    return {
        **_asked_columns(news),
        "id": ids,
        "labels": [orjson.dumps(new.asked.labels).decode() for new in news],
        "payload": [orjson.dumps(new.asked.payload).decode() for new in news],
        "traceparent": news[0].traceparent,  # of the one request that they came with
        "idempotency_key": request and request.key,
        "request_hash": request and request.request_hash,
        "scope": request.scope if request else "",
    }


def _asked_columns(news: Sequence[NewTask]) -> dict[str, list[Any]]:
    plain = ("name", "description", "queue", "run_at", "timeout_seconds", "max_attempts")
    asked = [new.asked for new in news]
    return {
        "type": [new.type for new in news],
        "priority": [str(one.priority) for one in asked],
        **{name: [getattr(one, name) for one in asked] for name in plain},
    }


def _new(model: type[Shown], task_id: UUID, new: NewTask, created_at: datetime) -> Shown:
    return _stored(model, _before_stored(model, task_id, new), created_at)


def _before_stored(model: type[Shown], task_id: UUID, new: NewTask) -> dict[str, Any]:
    """Return the fields of a new task, but for the times that the database decides."""
    values = _FRESH[model] | vars(new.asked)
    for name in _UNSHOWN[model]:
        del values[name]
    values["id"] = task_id
    values["type"] = new.type
    return values


async def _all_before_stored(ids: Sequence[UUID], news: Sequence[NewTask]) -> list[dict[str, Any]]:
    return [_before_stored(TaskSummary, *given) for given in zip(ids, news, strict=True)]


def _stored(model: type[Shown], values: dict[str, Any], created_at: datetime) -> Shown:
    run_at = values["run_at"]
    values["created_at"] = created_at
    values["due_at"] = created_at if run_at is None else max(run_at, created_at)
    return of_values(model, values)


def _key_parameters(request: RequestKey) -> dict[str, str]:
    return {"scope": request.scope, "idempotency_key": request.key}


def _repeated(model: type[Shown], rows: Sequence[Row], request: RequestKey) -> tuple[Shown, ...]:
    """Return the tasks of an earlier request.

    Raises:
        KeyMismatchError: it was another one.

    """
    if any(row["request_hash"] != request.request_hash for row in rows):
        raise KeyMismatchError("the key belongs to another request")
    return tuple(shown(model, row) for row in rows)


def _purged_each_time() -> ContentionError:
    return ContentionError("the tasks of this key were purged each time before they could be read")
