"""The table `task_attempts`: a row for each attempt that neither completed nor snoozed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from task_contracts.lifecycle import RECORD, SWEEP, WITHOUT_TRACE
from task_store._models.base import Base
from task_store._models.task import TaskRow

_OUTCOMES = [event for event in (*RECORD, *SWEEP) if event not in WITHOUT_TRACE]


class AttemptRow(Base):
    """How one attempt ended. Deleted with its task."""

    __tablename__ = "task_attempts"

    task_id: Mapped[UUID] = mapped_column(ForeignKey(TaskRow.id, ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    host: Mapped[str | None]
    pid: Mapped[int | None]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    outcome: Mapped[str]
    error: Mapped[str | None] = mapped_column(JSONB)
    traceback: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(f"outcome IN ({', '.join(repr(str(event)) for event in _OUTCOMES)})", name="outcome"),
    )
