"""The table `pauses`: which tasks no worker begins for now, and which none began for a while."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, column
from sqlalchemy.orm import Mapped, mapped_column

from task_contracts import Priority
from task_store._models.base import Base


class PauseRow(Base):
    """One pause. It covers the tasks of its queue, type and priority; NULL covers all.

    It stands until `ended_at` or `until`. It is settled once the leader has taken back the marks of the tasks that it
    covered: their messages were consumed meanwhile. Until then nothing that it covers is marked.
    """

    __tablename__ = "pauses"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    queue: Mapped[str | None]
    type: Mapped[str | None]
    priority: Mapped[str | None]
    reason: Mapped[str | None]
    paused_by: Mapped[str]
    created_at: Mapped[datetime]
    effective_at: Mapped[datetime | None]
    until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"priority IN ({', '.join(repr(str(one)) for one in Priority)})", name="priority"),
        CheckConstraint("settled_at IS NULL OR ended_at IS NOT NULL", name="settled_last"),
        # The few that stand or are not settled, among all that ever were.
        Index("ix_pauses_open", "id", postgresql_where=column("settled_at", DateTime).is_(None)),
    )
