"""What the API does to tasks: creates, reads, lists and changes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from task_contracts import Attempt, ErrorGroup, Task, TaskState, TaskStatus, TaskSummary, TaskUpdate, limits
from task_contracts.lifecycle import Event
from task_store._creations import Creations
from task_store._row import Row
from task_store._statements import bulk, cancel_rerun, counts, history, pages
from task_store._statements.statement import Statement
from task_store._task_rows import read_column, shown
from task_store.batch_limit import BatchLimit
from task_store.database import Database
from task_store.errors import ContentionError, DatabaseUnavailableError
from task_store.failures import Failures
from task_store.records import (
    NOBODY,
    AuditContext,
    Changed,
    ChangedMany,
    CountedMany,
    Created,
    CreatedBatch,
    NewTask,
    Page,
    RequestKey,
    TaskFilter,
    Total,
)

_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC) for year in (1, 9999))
_NOBODY = UUID(int=0)
"""The id of no task."""


class Tasks:
    """The tasks, for the API. Many asyncio tasks may use one at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._creations = Creations(database)
        self._failures = Failures(database)
        self._bulk_limit = BatchLimit(limits.BULK_ITEMS_MAX)

    async def create(self, new: NewTask, *, seconds: float | None = None) -> Task:
        """Store a task as NEW and return it once that is committed.

        Concurrent calls share one INSERT. A repeated call creates another task. A call that is cancelled before its
        INSERT has begun stores nothing.

        Args:
            new: what to store.
            seconds: how long to wait, since any call was last answered; at most 30 s. None waits for its turn.

        Raises:
            UnstorableValuesError: the database refuses a value; nothing was stored.
            StatementEndedError: the server ended the INSERT of this task alone; nothing was stored.
            DatabaseUnavailableError: the task may have been stored.

        """
        return await self._creations.create(new, seconds)

    async def create_keyed(self, new: NewTask, request: RequestKey, *, seconds: float | None = None) -> Created:
        """Store a task as NEW, or return the one that an earlier request of this key created, as it is now.

        Safe to repeat: of any number of calls with one key, in any number of processes, one creates a task. Concurrent
        calls share one INSERT.

        Args:
            new: what to store.
            request: its key, and the hash by which a repeat is told from another request.
            seconds: how long to wait, as for `create`.

        Raises:
            KeyMismatchError: the key belongs to another request; nothing was stored.
            ContentionError: three times the task of the key was purged before it was read.
            UnstorableValuesError, StatementEndedError: as for `create`.
            DatabaseUnavailableError: the task may have been stored; a repeat tells.

        """
        return await self._creations.create_keyed(new, request, seconds)

    async def create_batch(self, news: Sequence[NewTask], request: RequestKey | None = None) -> CreatedBatch:
        """Store tasks as NEW, all of them or none, or return those that an earlier request of this key created.

        One INSERT, beside those of other calls; two at once, the others wait for their turn. Safe to repeat with a
        request key; without one a repeat creates the tasks again.

        Args:
            news: what to store, 1 to `limits.BATCH_TASKS_MAX`, together no more than `limits.BATCH_BODY_BYTES`.
            request: the key, and the hash of all of `news`.

        Raises:
            KeyMismatchError: the key belongs to another request; nothing was stored.
            KeyExpiredError: some of the tasks of the earlier request were purged; nothing was stored.
            ContentionError: others were in the way, twice, or the tasks were purged before they were read.
            UnstorableValuesError: the database refuses a value; nothing was stored.
            DatabaseUnavailableError: the tasks may have been stored.

        """
        return await self._creations.create_batch(news, request)

    async def is_key_known(self, request: RequestKey) -> bool:
        """Return whether a task was created with the key of a request, by whatever request it was."""
        values = {"scope": request.scope, "idempotency_key": request.key}
        return bool(await self._database.fetch(pages.IS_KEY_KNOWN, values))

    async def get(self, task_id: UUID) -> Task | None:
        """Return a task, or None if there is none with this id."""
        rows = await self._database.fetch(pages.GET, {"task_id": task_id})
        return shown(Task, rows[0]) if rows else None

    async def state(self, task_id: UUID) -> TaskState | None:
        """Return the state of a task, without payload and result; None if there is none with this id."""
        rows = await self._database.fetch(pages.STATE, {"task_id": task_id})
        return shown(TaskState, rows[0]) if rows else None

    async def attempts(self, task_id: UUID) -> list[Attempt] | None:
        """Return the attempts of a task in their order, or None if there is none with this id.

        Of more than `limits.ATTEMPTS_SHOWN_MAX` the latest. Where errors and tracebacks are more than
        `limits.PAGE_BYTES` together, those of the earlier attempts are left out: a text in place of each traceback says
        so.
        """
        values = {"task_id": task_id, "rows": limits.ATTEMPTS_SHOWN_MAX, "bytes": limits.PAGE_BYTES}
        rows = await self._database.fetch(history.ATTEMPTS, values)
        found = [row for row in rows if row["attempt"] is not None]
        attempts = [Attempt.model_construct(**{**row, "error": read_column("error", row["error"])}) for row in found]
        return attempts if rows else None

    async def error_groups(self) -> list[ErrorGroup]:
        """Return the kinds of failures of the last day: see `Failures.last_day`."""
        return await self._failures.last_day()

    async def page(self, wanted: TaskFilter, *, items: int, is_full: bool = False) -> Page:
        """Return up to `items` matching tasks; fewer if they are large, or if too many rows were read to find them.

        Args:
            wanted: which tasks, in which order, and after which id.
            items: 1 to `limits.PAGE_ITEMS_MAX`.
            is_full: return `Task`s, with payload and result, instead of `TaskSummary`s.

        """
        wanted = await self._narrowed(wanted)
        rows = await self._database.fetch(pages.page(wanted, is_full=is_full, items=items))
        model = Task if is_full else TaskSummary
        found = tuple(shown(model, row) for row in rows if row["id"] is not None)
        is_cut = rows[0]["matched"] > len(found)
        return Page(found, found[-1].id if is_cut else rows[0]["last_examined"])

    async def total(self, wanted: TaskFilter) -> Total:
        """Count matching tasks, up to `limits.TOTAL_MAX`, among at most `limits.EXAMINED_ROWS_MAX` rows."""
        (row,) = await self._database.fetch(pages.total(await self._narrowed(wanted)))
        is_capped = row["matching"] > limits.TOTAL_MAX or row["examined"] >= limits.EXAMINED_ROWS_MAX
        return Total(min(row["matching"], limits.TOTAL_MAX), is_capped)

    async def count_by_status(self) -> dict[TaskStatus, int]:
        """Count all tasks by status; a status of no task is left out.

        Reads the whole table: use a `Database` with a long deadline.
        """
        return {TaskStatus(row["status"]): row["tasks"] for row in await self._database.fetch(counts.COUNT_BY_STATUS)}

    async def cancel(self, task_id: UUID) -> Changed | None:
        """Cancel a waiting task, or request that a running one stops; None if there is no such task.

        `Changed.event` is CANCEL or REQUEST_CANCEL, or None for a task that has ended. Safe to repeat.
        """
        return await self._change(cancel_rerun.CANCEL, task_id)

    async def rerun(self, task_id: UUID) -> Changed | None:
        """Begin a new run of a FAILED or CANCELLED task; None if there is no such task.

        `Changed.event` is None for a task in another status.
        """
        return await self._change(cancel_rerun.RERUN, task_id)

    async def reschedule(
        self, task_id: UUID, update: TaskUpdate, *, versions: Collection[int] | None = None
    ) -> Changed | None:
        """Give a waiting task another priority or time; None if there is no such task. Safe to repeat.

        `Changed.event` is None for a task that does not wait, or whose version is none of `versions`.

        Args:
            task_id: the task.
            update: what is left out of it stays; a `run_at` of None means now.
            versions: those that the task may be at, each below 2^31; None allows any.

        """
        return await self._change(
            cancel_rerun.RESCHEDULE,
            task_id,
            priority=update.priority,
            run_at=update.run_at,
            is_run_at_given="run_at" in update.model_fields_set,
            versions=None if versions is None else list(versions),
        )

    async def change_many(
        self,
        events: Sequence[Event],
        wanted: TaskFilter,
        *,
        items: int,
        began_at: datetime | None = None,
        audit: AuditContext = NOBODY,
    ) -> ChangedMany:
        """Cancel up to `items` of the matching tasks, or rerun them; fewer if too many rows were read to find them.

        A task that matches no longer once it is locked is left as it is. A running task that was asked to stop before
        is not asked again, and only what finished before `began_at` is rerun: so a call that is repeated with the same
        arguments changes nothing twice. The same transaction writes one act into the audit.

        Args:
            events: `lifecycle.CANCELLATION`, or RERUN alone.
            wanted: which tasks, in which order, and after which id. Other statuses than those in which `events` can
                happen find nothing.
            items: 1 to `limits.BULK_ITEMS_MAX`; after a call without an answer the next ones take fewer.
            began_at: `ChangedMany.began_at` of the first call; None for the first call itself.
            audit: who asks, for the audit.

        Raises:
            DatabaseUnavailableError: some tasks may have been changed; repeat the call.

        """
        items = min(items, self._bulk_limit.items)
        try:
            narrowed = await self._narrowed(wanted)
            rows = await self._fetch_bulk(bulk.change(events, narrowed, items=items, began_at=began_at, audit=audit))
        except DatabaseUnavailableError:
            self._bulk_limit.unanswered(items)
            raise
        self._bulk_limit.answered(items)
        changed = [row for row in rows if row["event"] is not None]
        return ChangedMany(
            event_by_id={task_id: Event(row["event"]) for row in changed for task_id in row["ids"]},
            queues=frozenset(row["queue"] for row in changed),
            began_at=began_at or rows[0]["now"],
            next_after=rows[0]["next_after"],
        )

    async def count_many(
        self, events: Sequence[Event], wanted: TaskFilter, *, began_at: datetime | None = None
    ) -> CountedMany:
        """Count the matching tasks that `change_many` would change, among at most `limits.EXAMINED_ROWS_MAX` rows.

        Arguments as for `change_many`.
        """
        wanted = await self._narrowed(wanted)
        (row,) = await self._database.fetch(bulk.count(events, wanted, began_at=began_at))
        count_by_event = {event: row[event] for event in events}
        is_capped = sum(count_by_event.values()) > limits.TOTAL_MAX or row["examined"] >= limits.EXAMINED_ROWS_MAX
        return CountedMany(count_by_event, is_capped, began_at or row["now"])

    async def aclose(self) -> None:
        """Wait until every call that has begun is answered."""
        await self._creations.aclose()

    async def _narrowed(self, wanted: TaskFilter) -> TaskFilter:
        """Return the filter with the ids of the tasks that ended within its time, where those are few.

        Lists are in the order of the ids, and no index has both. Where more than `limits.FINISHED_IDS_MAX` tasks ended
        within the time, a page reads as for a filter that no index serves, and finds some soon.
        """
        is_timed = wanted.finished_from is not None or wanted.finished_to is not None
        if not is_timed or wanted.ids or wanted.idempotency_key is not None or wanted.worker_id is not None:
            return wanted
        values = {
            "finished_from": wanted.finished_from or _EARLIEST,
            "finished_to": wanted.finished_to or _LATEST,
            "rows": limits.FINISHED_IDS_MAX + 1,
        }
        found = await self._database.fetch(pages.FINISHED_IDS, values)
        if len(found) > limits.FINISHED_IDS_MAX:
            return wanted
        return replace(wanted, ids=tuple(row["id"] for row in found) or (_NOBODY,))

    async def _fetch_bulk(self, statement: Statement) -> Sequence[Row]:
        """Run a statement over many rows, once more if another transaction was in its way."""
        try:
            return await self._database.fetch(statement)
        except ContentionError:
            return await self._database.fetch(statement)

    async def _change(self, statement: Statement, task_id: UUID, **given: Any) -> Changed | None:
        rows = await self._database.fetch(statement, {"task_id": task_id, **given})
        if not rows:
            return None
        event = rows[0]["event"]
        return Changed(shown(Task, rows[0]), Event(event) if event else None)
