"""The table `task_types`: the types that workers offered for each queue. Rows stay after the workers have gone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class OfferRow(Base):
    """A type that a worker offered for a queue, with the JSON Schema of its payload, or null if it takes any."""

    __tablename__ = "task_types"

    queue: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    payload_schema: Mapped[str | None] = mapped_column(JSONB)
    last_offered_at: Mapped[datetime]
