"""The table `uncounted_tasks`: tasks that `create_task()` has stored, until the leader has counted them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class UncountedRow(Base):
    """A task that no process saw come: its creator's transaction wrote it, and this row beside it."""

    __tablename__ = "uncounted_tasks"

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    queue: Mapped[str]
    priority: Mapped[str]
    type: Mapped[str]
