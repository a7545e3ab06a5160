"""The table `queues`: the queues that exist, for `create_task()`. Rows stay."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class QueueRow(Base):
    """A queue that an API has named, with the type of a task that names none, or null if it must name one."""

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(primary_key=True)
    default_type: Mapped[str | None]
