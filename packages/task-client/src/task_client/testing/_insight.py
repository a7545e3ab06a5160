"""What a fake service says of its tasks: why one is where it is, counts, groups of failures, its one worker."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from math import ceil

from task_client.testing._tasks import HOST, WORKER_ID, FakeTasks, failure_kind
from task_contracts import (
    Activity,
    Demand,
    ErrorGroup,
    Explanation,
    FailureKind,
    Priority,
    PriorityState,
    QueueState,
    Reason,
    Stats,
    Task,
    TaskStatus,
    TypeInfo,
    Version,
    WorkerInfo,
)

_SLOTS = 1
_TARGET_WAIT_SECONDS = 60.0
_RATES_SECONDS = (60, 300, 900)
_REASON_BY_END = {
    TaskStatus.COMPLETED: Reason.COMPLETED,
    TaskStatus.FAILED: Reason.FAILED,
    TaskStatus.CANCELLED: Reason.CANCELLED,
}


class Insight:
    """Looks at the tasks of a fake service; its worker has lived since the service was made."""

    def __init__(self, tasks: FakeTasks, queues: frozenset[str]) -> None:
        self._tasks, self._queues = tasks, queues
        self._began = datetime.now(UTC)

    def explain(self, task: Task) -> Explanation:
        """Return why a task is where it is."""
        now = datetime.now(UTC)
        reason, sentence = self._reason(task, now)
        waits = not task.status.is_terminal and task.status is not TaskStatus.IN_PROGRESS
        runs = task.status is TaskStatus.IN_PROGRESS
        return Explanation(
            task_id=task.id,
            status=task.status,
            reason=reason,
            sentence=sentence,
            due_at=task.due_at if waits else None,
            due_in_seconds=max(0.0, (task.due_at - now).total_seconds()) if waits else None,
            worker_id=WORKER_ID if runs else None,
            host=HOST if runs else None,
            pid=os.getpid() if runs else None,
            since=None if waits else task.finished_at or task.started_at,
        )

    def stats(self) -> Stats:
        """Return what waits, runs and has happened."""
        states = self.queues()
        waits = [state.oldest_wait_seconds for state in states if state.oldest_wait_seconds is not None]
        return Stats(
            at=datetime.now(UTC),
            waiting=sum(state.waiting for state in states),
            waiting_is_capped=False,
            running=sum(state.running for state in states),
            oldest_wait_seconds=max(waits, default=None),
            live_workers=1,
            slots=_SLOTS,
            rates=[self._activity(seconds) for seconds in _RATES_SECONDS],
        )

    def queues(self) -> list[QueueState]:
        """Return what waits and runs in each queue."""
        return [self._queue(queue) for queue in sorted(self._queues)]

    def demand(self, queue: str, target_wait_seconds: float | None) -> Demand | None:
        """Return how many workers a queue wants; None if there is no such queue."""
        if queue not in self._queues:
            return None
        state = self._queue(queue)
        mean, target = self._activity(_RATES_SECONDS[-1]).mean_run_seconds, target_wait_seconds or _TARGET_WAIT_SECONDS
        wanted = state.running + state.waiting * (1.0 if mean is None else min(1.0, mean / target))
        return Demand(
            queue=queue,
            demand=state.running + state.waiting,
            waiting=state.waiting,
            running=state.running,
            oldest_wait_seconds=state.oldest_wait_seconds,
            desired_workers=ceil(wanted / _SLOTS),
        )

    def errors(self) -> list[ErrorGroup]:
        """Return what has failed, by type and exception."""
        groups: dict[FailureKind, list[Task]] = {}
        for task, _ in self._tasks.all():
            if kind := failure_kind(task):
                groups.setdefault(kind, []).append(task)
        return sorted((_group(kind, failed) for kind, failed in groups.items()), key=lambda group: -group.count)

    def workers(self) -> list[WorkerInfo]:
        """Return the one worker."""
        now = datetime.now(UTC)
        return [
            WorkerInfo(
                id=WORKER_ID,
                host=HOST,
                pid=os.getpid(),
                version=version("task-client"),
                queues=sorted(self._queues),
                types=self._tasks.offered_types,
                slots=_SLOTS,
                in_flight=sum(state.running for state in self.queues()),
                started_at=self._began,
                lease_expires_at=now + timedelta(seconds=30),
                lease_remaining_seconds=30.0,
                is_leader=True,
                draining=False,
                reaches_broker=True,
            )
        ]

    def types(self) -> list[TypeInfo]:
        """Return the types that have a handler, in each queue."""
        now = datetime.now(UTC)
        return [
            TypeInfo(type=type_, queue=queue, last_offered_at=now, live_workers=1)
            for queue in sorted(self._queues)
            for type_ in self._tasks.offered_types
        ]

    def version(self) -> Version:
        """Return the versions of this process: there is no database."""
        return Version(version=version("task-client"), python=platform.python_version(), schema_revision=None)

    def _reason(self, task: Task, now: datetime) -> tuple[Reason, str]:
        if task.status.is_terminal:
            message = f": {task.error.message}" if task.error else ""
            return _REASON_BY_END[task.status], f"Ended {task.status}{message}."
        if task.status is TaskStatus.IN_PROGRESS:
            if task.cancel_requested_at is not None:
                return Reason.CANCEL_REQUESTED, f"Runs on {HOST} and was asked to stop."
            return Reason.RUNNING, f"Runs on {HOST}."
        if task.due_at > now:
            return Reason.NOT_DUE, f"Waits: due at {task.due_at.isoformat()}."
        if task.type not in self._tasks.offered_types:
            said = f"no live worker offers the type {task.type} in the queue {task.queue}"
            return Reason.NO_WORKER_OFFERS_TYPE, f"Waits: {said}."
        return Reason.NEXT, "Waits: a worker takes it next."

    def _queue(self, queue: str) -> QueueState:
        mine = [task for task, _ in self._tasks.all() if task.queue == queue]
        states = [state for priority in Priority if (state := _priority(priority, mine)) is not None]
        waits = [state.oldest_wait_seconds for state in states if state.oldest_wait_seconds is not None]
        return QueueState(
            queue=queue,
            waiting=sum(state.waiting for state in states),
            waiting_is_capped=False,
            running=sum(state.running for state in states),
            oldest_wait_seconds=max(waits, default=None),
            live_workers=1,
            slots=_SLOTS,
            priorities=states,
        )

    def _activity(self, seconds: int) -> Activity:
        tasks = [task for task, _ in self._tasks.all()]
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        attempts = [one for task in tasks for one in self._tasks.attempts(task.id) if one.started_at >= since]
        ended = [task for task in tasks if task.finished_at is not None and task.finished_at >= since]
        runs = [(one.ended_at - one.started_at).total_seconds() for one in attempts if one.ended_at is not None]

        def so_ended(status: TaskStatus) -> int:
            return sum(task.status is status for task in ended)

        return Activity(
            seconds=seconds,
            accepted=sum(task.created_at >= since for task in tasks),
            started=len(attempts),
            completed=so_ended(TaskStatus.COMPLETED),
            failed=so_ended(TaskStatus.FAILED),
            cancelled=so_ended(TaskStatus.CANCELLED),
            mean_run_seconds=sum(runs) / len(runs) if runs else None,
        )


def _priority(priority: Priority, tasks: Iterable[Task]) -> PriorityState | None:
    """Return what waits and runs of a priority; None for nothing."""
    now = datetime.now(UTC)
    mine = [task for task in tasks if task.priority is priority]
    waiting = [task for task in mine if task.status in {TaskStatus.NEW, TaskStatus.PENDING} and task.due_at <= now]
    running = _count(mine, lambda task: task.status is TaskStatus.IN_PROGRESS)
    if not waiting and not running:
        return None
    oldest = min((task.due_at for task in waiting), default=None)
    return PriorityState(
        priority=priority,
        waiting=len(waiting),
        waiting_is_capped=False,
        running=running,
        oldest_due_at=oldest,
        oldest_wait_seconds=None if oldest is None else (now - oldest).total_seconds(),
        at=now,
    )


def _group(kind: FailureKind, failed: list[Task]) -> ErrorGroup:
    at = [task.finished_at or task.created_at for task in failed]
    latest = failed[at.index(max(at))]
    return ErrorGroup(
        fingerprint=kind.fingerprint,
        type=kind.type,
        exception=kind.exception,
        frame=kind.frame,
        message=latest.error.message if latest.error else "",
        count=len(failed),
        first_at=min(at),
        last_at=max(at),
        example_id=latest.id,
    )


def _count(tasks: Iterable[Task], is_counted: Callable[[Task], bool]) -> int:
    return sum(map(is_counted, tasks))
