"""The tasks of a fake service, and what can happen to them: the transitions of the life cycle, one method each.

**Invariants**: every change happens under one lock, raises the task's version and takes the next number of all changes,
so that lists, waits and streams see the same order. What the life cycle forbids is a `WrongStatusError`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from task_contracts import (
    Attempt,
    ErrorCode,
    FailureKind,
    ProblemCode,
    Progress,
    Task,
    TaskCreate,
    TaskError,
    TaskStatus,
    UnstorableJsonError,
    check_json,
)
from task_contracts.lifecycle import CANCELLATION, LIFECYCLE, Event, refusal, sources

Handler: TypeAlias = Callable[[dict[str, Any]], object]
"""Gets a payload and returns the result; what it raises makes the task FAILED."""
WORKER_ID = UUID("00000000-0000-7000-8000-000000000001")
HOST = "in-this-process"
"""The one worker that there is."""


class WrongStatusError(Exception):
    """The event cannot happen to the task in its present status."""

    def __init__(self, status: TaskStatus, *events: Event) -> None:
        super().__init__(refusal(status, *events))
        self.code = ProblemCode.TASK_FINISHED if events == CANCELLATION else ProblemCode.WRONG_STATUS


def failure_kind(task: Task) -> FailureKind | None:
    """Return how a task FAILED, as far as it is known without the code of a handler; None if it is not FAILED."""
    if task.status is not TaskStatus.FAILED or task.error is None:
        return None
    return FailureKind(task.type, task.error.type or task.error.code)


class FakeTasks:
    """Tasks in memory, in the order of their creation."""

    def __init__(self, handlers: Mapping[str, Handler], default_type: str) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.changes = 0
        """The number of the latest change."""
        self._handlers, self._default_type = handlers, default_type
        self._tasks: dict[UUID, Task] = {}
        self._changes_by_id: dict[UUID, int] = {}
        self._attempts_by_id: dict[UUID, list[Attempt]] = {}
        self.is_paused: Callable[[Task], bool] = lambda _: False
        """Whether a task that waits may not begin for now."""

    @property
    def offered_types(self) -> list[str]:
        """The types that have a handler."""
        return sorted(self._handlers)

    def attempts(self, task_id: UUID) -> list[Attempt]:
        """Return the attempts of a task, the first one first.

        Raises:
            KeyError: there is no task with this id.

        """
        with self.changed:
            return list(self._attempts_by_id.get(self._tasks[task_id].id, ()))

    def all(self) -> list[tuple[Task, int]]:
        """Return all tasks, the oldest first, each with the number of its latest change."""
        with self.changed:
            return [(task, self._changes_by_id[task.id]) for task in self._tasks.values()]

    def get(self, task_id: UUID) -> Task:
        """Return a task.

        Raises:
            KeyError: there is none with this id.

        """
        with self.changed:
            return self._tasks[task_id]

    def create(self, creates: Iterable[TaskCreate]) -> list[Task]:
        """Create tasks and return them as they are then; those whose type has a handler end right after it."""
        with self.changed:
            created = [self._put(self._new(create)) for create in creates]
            for task in created:
                self._run(task)
            return created

    def run_waiting(self) -> None:
        """Run what waits, is due, is not paused and has a handler."""
        with self.changed:
            for task in [task for task in self._tasks.values() if task.status in sources(Event.CLAIM)]:
                self._run(task)

    def begin(self, task_id: UUID) -> Task:
        """Let a worker claim a task that waits."""
        return self._change(
            task_id,
            Event.CLAIM,
            lambda task: {"started_at": _now(), "worker_id": WORKER_ID, "attempt": task.attempt + 1},
        )

    def progress(self, task_id: UUID, progress: Progress) -> Task:
        """Set the progress of a running task."""
        with self.changed:
            task = self._tasks[task_id]
            if task.status not in sources(Event.COMPLETE):
                raise WrongStatusError(task.status, Event.COMPLETE)
            return self._put(task.model_copy(update={"version": task.version + 1, "progress": progress}))

    def complete(self, task_id: UUID, result: object) -> Task:
        """End a task well; one that waits begins first."""
        self._begin_if_waiting(task_id)
        return self._change(task_id, Event.COMPLETE, lambda _: {"result": result, "finished_at": _now(), "error": None})

    def fail(self, task_id: UUID, error: TaskError) -> Task:
        """End a task badly; one that waits begins first, one that was asked to stop is CANCELLED."""
        task = self._begin_if_waiting(task_id)
        if task.cancel_requested_at is not None:
            return self._change(task_id, Event.CONFIRM_CANCEL, lambda _: {"finished_at": _now()})
        return self._change(
            task_id,
            Event.FAIL,
            lambda task: {"error": error, "failures": task.failures + 1, "finished_at": _now()},
        )

    def cancel(self, task_id: UUID) -> Task:
        """Cancel a task, or ask a running one to stop; a repeat changes nothing."""
        with self.changed:
            task = self._tasks[task_id]
            if task.status is TaskStatus.CANCELLED or task.cancel_requested_at is not None:
                return task
            if task.status in sources(Event.CANCEL):
                return self._change(task_id, Event.CANCEL, lambda _: {"finished_at": _now()})
            if task.status in sources(Event.REQUEST_CANCEL):
                return self._change(task_id, Event.REQUEST_CANCEL, lambda _: {"cancel_requested_at": _now()})
            raise WrongStatusError(task.status, *CANCELLATION)

    def rerun(self, task_id: UUID) -> Task:
        """Begin another run of a task that is FAILED or CANCELLED; if its type has a handler, that ends it again."""
        fresh: dict[str, Any] = dict.fromkeys(
            ("started_at", "finished_at", "worker_id", "cancel_requested_at", "result", "error", "progress")
        )
        with self.changed:
            again = self._change(
                task_id,
                Event.RERUN,
                lambda task: {
                    **fresh,
                    "rerun_count": task.rerun_count + 1,
                    "failures": 0,
                    "lost_count": 0,
                    "due_at": _now(),
                },
            )
            self._run(again)
            return again

    def reschedule(self, task_id: UUID, fields: Mapping[str, Any]) -> Task:
        """Change the priority or the time of a task that waits."""
        with self.changed:
            changed = self._change(task_id, Event.RESCHEDULE, lambda _: fields)
            self._run(changed)
            return changed

    def _new(self, create: TaskCreate) -> Task:
        now = _now()
        fields = create.model_dump()
        return Task(
            **{**fields, "type": create.type or self._default_type},
            id=uuid4(),
            status=TaskStatus.NEW,
            attempt=0,
            version=1,
            created_at=now,
            due_at=max(create.run_at or now, now),
        )

    def _run(self, task: Task) -> None:
        handler = self._handlers.get(task.type)
        if handler is None or task.due_at > _now() or self.is_paused(task):
            return
        self.begin(task.id)
        try:
            result = check_json(handler(task.payload))
        except UnstorableJsonError as error:
            self.fail(task.id, TaskError(code=ErrorCode.UNSTORABLE_RESULT, message=str(error)))
        except Exception as error:  # noqa: BLE001 # of the caller's function, whatever it raises is how the task ends
            failed = TaskError(code=ErrorCode.HANDLER_ERROR, message=str(error), type=type(error).__name__)
            self.fail(task.id, failed)
        else:
            self.complete(task.id, result)

    def _begin_if_waiting(self, task_id: UUID) -> Task:
        with self.changed:
            task = self._tasks[task_id]
            return self.begin(task_id) if task.status in sources(Event.CLAIM) else task

    def _change(self, task_id: UUID, event: Event, fields_of: Callable[[Task], Mapping[str, Any]]) -> Task:
        with self.changed:
            task = self._tasks[task_id]
            transition = LIFECYCLE[event]
            if task.status not in transition.sources:
                raise WrongStatusError(task.status, event)
            fields = {"status": transition.target or task.status, "version": task.version + 1, **fields_of(task)}
            changed = self._put(task.model_copy(update=fields))
            self._note_attempt(event, changed)
            return changed

    def _note_attempt(self, event: Event, task: Task) -> None:
        attempts = self._attempts_by_id.setdefault(task.id, [])
        if event is Event.CLAIM:
            attempts.append(
                Attempt(
                    attempt=task.attempt,
                    outcome=None,
                    worker_id=WORKER_ID,
                    host=HOST,
                    pid=os.getpid(),
                    started_at=task.started_at or _now(),
                )
            )
        elif event in {Event.COMPLETE, Event.FAIL, Event.CONFIRM_CANCEL}:
            ended = {"outcome": event.value, "ended_at": task.finished_at, "error": task.error}
            attempts[-1] = attempts[-1].model_copy(update=ended)

    def _put(self, task: Task) -> Task:
        self.changes += 1
        self._tasks[task.id], self._changes_by_id[task.id] = task, self.changes
        self.changed.notify_all()
        return task


def _now() -> datetime:
    return datetime.now(UTC)
