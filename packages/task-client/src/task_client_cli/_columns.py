"""What a table shows of each thing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from task_client_cli._tables import Column
from task_client_cli._times import span_text
from task_client_cli._values import Span, value_text


def _count(value: int, is_capped: bool) -> str:
    return f"{value}+" if is_capped else str(value)


def _percent(task: Any) -> str:
    return "-" if task.progress is None else f"{task.progress.percent:.0f}%"


def _error(task: Any) -> str:
    return "" if task.error is None else f"{task.error.type or task.error.code}: {task.error.message}"


def _key_state(key: Any) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "valid"


TASKS = (
    Column("ID", lambda task: str(task.id), is_id=True),
    Column("STATUS", lambda task: task.status.value),
    Column("DONE", _percent, is_number=True),
    Column("TRY", lambda task: str(task.attempt), rank=5, is_number=True),
    Column("PRIORITY", lambda task: task.priority.value, rank=7),
    Column("QUEUE", lambda task: task.queue, rank=6),
    Column("TYPE", lambda task: task.type, rank=3),
    Column("CREATED", lambda task: task.created_at, rank=4),
    Column("NAME", lambda task: task.name),
    Column("ERROR", _error, rank=2),
)
STATES = (TASKS[0], TASKS[1], TASKS[2], Column("TRY", lambda state: str(state.attempt), is_number=True))
"""Of what streams of events tell."""
QUEUES = (
    Column("QUEUE", lambda queue: queue.queue),
    Column("WAITING", lambda queue: _count(queue.waiting, queue.waiting_is_capped), is_number=True),
    Column("RUNNING", lambda queue: str(queue.running), is_number=True),
    Column("OLDEST", lambda queue: Span.of(queue.oldest_wait_seconds), is_number=True),
    Column("WORKERS", lambda queue: str(queue.live_workers), rank=2, is_number=True),
    Column("SLOTS", lambda queue: str(queue.slots), rank=3, is_number=True),
)
ERRORS = (
    Column("ATTEMPTS", lambda group: str(group.count), is_number=True),
    Column("FINGERPRINT", lambda group: group.fingerprint),
    Column("LAST", lambda group: group.last_at, rank=3),
    Column("TYPE", lambda group: group.type, rank=2),
    Column("FIRST", lambda group: group.first_at, rank=5),
    Column("EXAMPLE", lambda group: str(group.example_id), rank=1, is_id=True),
    Column("WHERE", lambda group: group.frame, rank=4),
    Column("ERROR", lambda group: f"{group.exception}: {group.message}", stays=60),
)
WORKERS = (
    Column("HOST", lambda worker: worker.host),
    Column("PID", lambda worker: str(worker.pid), is_number=True),
    Column("BUSY", lambda worker: f"{worker.in_flight}/{worker.slots}", is_number=True),
    Column("LEASE", lambda worker: Span.of(worker.lease_remaining_seconds), rank=3, is_number=True),
    Column("SINCE", lambda worker: worker.started_at, rank=5),
    Column("VERSION", lambda worker: worker.version, rank=6),
    Column("ID", lambda worker: str(worker.id), rank=7, is_id=True),
    Column("QUEUES", lambda worker: ",".join(worker.queues), rank=4),
    Column(
        "STATE",
        lambda worker: (
            ",".join(
                word
                for word, holds in (
                    ("leader", worker.is_leader),
                    ("draining", worker.draining),
                    ("no broker", not worker.reaches_broker),
                    (f"silent {span_text(worker.silent_seconds or 0)}", worker.silent_seconds is not None),
                )
                if holds
            )
            or "-"
        ),
        rank=1,
    ),
    Column("TYPES", lambda worker: ",".join(worker.types)),
)
TYPES = (
    Column("TYPE", lambda type_: type_.type),
    Column("QUEUE", lambda type_: type_.queue),
    Column("WORKERS", lambda type_: str(type_.live_workers), is_number=True),
    Column("OFFERED", lambda type_: type_.last_offered_at, rank=1),
    Column("REQUIRED", lambda type_: ",".join((type_.payload_schema or {}).get("required", [])) or "-"),
)
RATES = (
    Column("LAST", lambda rate: Span.of(rate.seconds)),
    Column("ACCEPTED", lambda rate: str(rate.accepted), is_number=True),
    Column("STARTED", lambda rate: str(rate.started), rank=3, is_number=True),
    Column("COMPLETED", lambda rate: str(rate.completed), is_number=True),
    Column("FAILED", lambda rate: str(rate.failed), is_number=True),
    Column("RETRIED", lambda rate: str(rate.retried), rank=2, is_number=True),
    Column("CANCELLED", lambda rate: str(rate.cancelled), rank=4, is_number=True),
    Column("WAIT", lambda rate: Span.of(rate.mean_wait_seconds), rank=1, is_number=True),
    Column("RUN", lambda rate: Span.of(rate.mean_run_seconds), is_number=True),
)

KEYS = (
    Column("ID", lambda key: key.id),
    Column("NAME", lambda key: key.name, rank=1),
    Column("OWNER", lambda key: key.owner),
    Column("STATE", _key_state, rank=2),
    Column("CREATED", lambda key: key.created_at, rank=5),
    Column("BY", lambda key: key.created_by or "-", rank=6),
    Column("USED", lambda key: key.last_used_at, rank=3),
    Column("EXPIRES", lambda key: key.expires_at, rank=4),
    Column("MAY", lambda key: ",".join(scope.value for scope in key.scopes)),
)
PAUSES = (
    Column("ID", lambda pause: str(pause.id), is_id=True),
    Column("QUEUE", lambda pause: pause.queue or "all"),
    Column("TYPE", lambda pause: pause.type or "all"),
    Column("PRIORITY", lambda pause: pause.priority or "all"),
    Column("SINCE", lambda pause: pause.effective_at, rank=3),
    Column("UNTIL", lambda pause: pause.until, rank=1),
    Column("ENDED", lambda pause: pause.ended_at, rank=5),
    Column("BY", lambda pause: pause.paused_by or "-", rank=4),
    Column("REASON", lambda pause: pause.reason),
)
AUDIT = (
    Column("AT", lambda entry: entry.at),
    Column("ACTOR", lambda entry: entry.actor or "-"),
    Column("ACTION", lambda entry: entry.action),
    Column("TASKS", lambda entry: None if entry.count is None else str(entry.count), rank=1, is_number=True),
    Column("TARGET", lambda entry: entry.target, rank=2),
    Column("REQUEST", lambda entry: entry.request_id, rank=3),
    Column("FILTER", lambda entry: entry.filter),
)


def task_fields(task: Any) -> list[tuple[str, object]]:
    """Return the fields of a task as people read them; of what is not set, nothing."""
    shown = [(name, getattr(task, name)) for name in type(task).model_fields if name not in {"progress", "error"}]
    progress, error = task.progress, task.error
    if progress is not None:
        shown.append(("progress", f"{value_text(progress.percent)}% {progress.message or ''}".rstrip()))
    if error is not None:
        shown.append(("error", f"{error.code}: {error.type + ': ' if error.type else ''}{error.message}"))
    return [(name, value) for name, value in shown if value not in (None, {}, "")]
