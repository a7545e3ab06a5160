"""The table `queue_now`: how many tasks wait and run in each queue, as the leader last counted them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class QueueNowRow(Base):
    """What waits and runs of one priority of a queue, none of it older than `at`.

    A figure that had no answer in time keeps its last value, and with it the row its `at`.
    """

    __tablename__ = "queue_now"

    queue: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[str] = mapped_column(primary_key=True)
    waiting: Mapped[int]
    waiting_is_capped: Mapped[bool]
    oldest_due_at: Mapped[datetime | None]
    running: Mapped[int]
    at: Mapped[datetime]

    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)
