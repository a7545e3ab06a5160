"""The table `task_types`: the types that workers offered for each queue. Rows stay after the workers have gone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class OfferRow(Base):
    """A version of a type that a worker offered for a queue, with the JSON Schema of its payload, or null for any.

    Two versions differ in their schema, and live at once while workers are updated one after the other.
    """

    __tablename__ = "task_types"

    queue: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    schema_hash: Mapped[str] = mapped_column(primary_key=True, server_default=text("''"))
    payload_schema: Mapped[str | None] = mapped_column(JSONB)
    last_offered_at: Mapped[datetime]
