"""The table `audit_log`: what operators did, each act written with what it changed. Nobody updates or deletes a row."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class AuditRow(Base):
    """One act. Its id is a UUIDv7 of the database's clock, so that ids are in the order of `at`, whoever wrote them."""

    __tablename__ = "audit_log"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    target: Mapped[str | None]
    filter: Mapped[str | None] = mapped_column(JSONB)
    count: Mapped[int | None]
    request_id: Mapped[str | None]

    __table_args__ = (CheckConstraint("count >= 0", name="count"),)
