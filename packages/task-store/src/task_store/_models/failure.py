"""The table `failure_hours`: the failures of each hour, by what they have in common."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class FailureRow(Base):
    """How often one kind of failure came in one hour. Its fingerprint is a hash of type, exception and frame."""

    __tablename__ = "failure_hours"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    exception: Mapped[str]
    frame: Mapped[str]
    message: Mapped[str]
    count: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    example_id: Mapped[UUID]

    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)
