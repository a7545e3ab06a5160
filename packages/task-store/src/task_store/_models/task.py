"""The table `tasks`: one row for each task. What a row says is the truth about its task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, Index, Text, TextClause, column, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from task_contracts import Priority, TaskStatus, limits
from task_contracts.lifecycle import COLUMN_RULES, RECORD, SUSPECT_LOST_COUNT, Event, Presence, sources
from task_store._models.base import Base

STORED_KEY_BYTES = limits.IDEMPOTENCY_KEY_CHARS + len(f" {limits.BATCH_TASKS_MAX}")
"""A caller's key and, from the second task of a batch on, a space and the task's place in it."""


def _one_of(name: str, words: Iterable[str]) -> str:
    return f"{name} IN ({', '.join(repr(str(word)) for word in words)})"


def _in_sources_of(*events: Event, also: str = "") -> TextClause:
    """Return the predicate of a partial index: the rows in whose status one of `events` can happen."""
    is_source = _one_of("status", (status for status in TaskStatus if status in sources(*events)))
    return text(f"{is_source} AND {also}" if also else is_source)


def _rules() -> Iterator[CheckConstraint]:
    """Return a CHECK constraint for each column of the life cycle's second table."""
    for name, presences in COLUMN_RULES.items():
        must = [s for s, presence in presences.items() if presence is Presence.ALWAYS]
        never = [s for s, presence in presences.items() if presence is Presence.NEVER]
        parts = [f"({name} IS NULL OR NOT {_one_of('status', never)})"] if never else []
        parts += [f"({name} IS NOT NULL OR NOT {_one_of('status', must)})"] if must else []
        yield CheckConstraint(" AND ".join(parts), name=f"{name}_by_status")


class TaskRow(Base):
    """One task: what a caller gave, when it is due, what happened to it, and which worker holds it.

    Of a batch that was created with a key, its first task has the key itself, and the n-th one the key, a space and n.
    No caller can send a key with a space. All of them have the hash of the whole request.

    `payload`, `result` and `checkpoint` are no jsonb: nothing queries inside them, and jsonb writes 1e308 as 309
    digits.
    """

    __tablename__ = "tasks"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    type: Mapped[str]
    queue: Mapped[str]
    labels: Mapped[str] = mapped_column(JSONB, server_default=text("'{}'"))
    payload: Mapped[str] = mapped_column(JSON, server_default=text("'{}'"))
    payload_bytes: Mapped[int]
    priority: Mapped[str]
    status: Mapped[str]
    run_at: Mapped[datetime | None]
    due_at: Mapped[datetime]
    timeout_seconds: Mapped[float | None]
    max_attempts: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    lost_count: Mapped[int] = mapped_column(server_default=text("0"))
    rerun_count: Mapped[int] = mapped_column(server_default=text("0"))
    lease_token: Mapped[UUID | None]
    worker_id: Mapped[UUID | None]
    dispatched_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    progress: Mapped[str | None] = mapped_column(JSONB)
    result: Mapped[str | None] = mapped_column(JSON)
    result_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None] = mapped_column(JSONB)
    checkpoint: Mapped[str | None] = mapped_column(JSON)
    checkpoint_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    scope: Mapped[str] = mapped_column(server_default=text("''"))
    idempotency_key: Mapped[str | None] = mapped_column(Text(collation="C"))
    request_hash: Mapped[bytes | None] = mapped_column(BYTEA)
    fingerprint: Mapped[str | None]
    traceparent: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(_one_of("status", TaskStatus), name="status"),
        CheckConstraint(_one_of("priority", Priority), name="priority"),
        CheckConstraint("attempt >= 0 AND failures >= 0 AND lost_count >= 0 AND rerun_count >= 0", name="counts"),
        CheckConstraint("started_at >= created_at", name="started_after_created"),
        CheckConstraint("finished_at >= created_at AND finished_at >= started_at", name="finished_last"),
        CheckConstraint("(idempotency_key IS NULL) = (request_hash IS NULL)", name="hash_of_key"),
        CheckConstraint(f"octet_length(idempotency_key) BETWEEN 1 AND {STORED_KEY_BYTES}", name="idempotency_key"),
        CheckConstraint(f"octet_length(request_hash) = {sha256().digest_size}", name="request_hash"),
        *_rules(),
        # Which statements use an index is said at each statement; docs/statements.md lists it.
        # Waiting tasks, longest due first. Queue, priority and type come first, so that a
        # million tasks of another type, or of tomorrow, do not have to be read on the way.
        Index(
            "ix_tasks_waiting",
            "queue",
            "priority",
            "type",
            "due_at",
            "id",
            postgresql_where=_in_sources_of(Event.CLAIM),
        ),
        # Waiting tasks that were not dispatched yet.
        Index(
            "ix_tasks_undispatched",
            "queue",
            "priority",
            "type",
            "due_at",
            "id",
            postgresql_where=_in_sources_of(
                Event.DISPATCH, also=f"dispatched_at IS NULL AND lost_count < {SUSPECT_LOST_COUNT}"
            ),
        ),
        # The few tasks that have lost two workers.
        Index(
            "ix_tasks_suspect",
            "due_at",
            postgresql_where=_in_sources_of(Event.CLAIM, also=f"lost_count >= {SUSPECT_LOST_COUNT}"),
        ),
        # The tasks that a worker holds.
        Index("ix_tasks_running", "worker_id", postgresql_where=_in_sources_of(*RECORD)),
        # The few unsuccessful tasks among millions of completed ones.
        Index("ix_tasks_unsuccessful", "id", postgresql_where=_in_sources_of(Event.RERUN)),
        # Tasks that were created with a key. In the order of bytes the items of a batch stand beside its own key.
        Index(
            "ix_tasks_idempotency_key",
            "scope",
            "idempotency_key",
            unique=True,
            postgresql_where=column("idempotency_key", Text).is_not(None),
        ),
        # The FAILED tasks of one kind of failure.
        Index(
            "ix_tasks_fingerprint",
            "fingerprint",
            "id",
            postgresql_where=_in_sources_of(Event.RERUN, also="fingerprint IS NOT NULL"),
        ),
        # Ended tasks, oldest first.
        Index("ix_tasks_finished", "finished_at", postgresql_where=column("finished_at", Text).is_not(None)),
        {
            # Each task is updated about three times. Free space in its page keeps the new version there, and an early
            # vacuum keeps dead versions few.
            "postgresql_with": {
                "fillfactor": 80,
                "autovacuum_vacuum_scale_factor": 0.02,
                "autovacuum_vacuum_threshold": 1000,
                "autovacuum_analyze_scale_factor": 0.02,
                "autovacuum_analyze_threshold": 1000,
                "autovacuum_vacuum_cost_delay": 1,
            }
        },
    )
