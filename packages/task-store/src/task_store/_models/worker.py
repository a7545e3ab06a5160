"""The table `workers`: one row for each start of a worker, with its lease and its last tick."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Index, Text, column, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class WorkerRow(Base):
    """One start of one worker. Once `dead_at` is set it stays set; a worker that goes on registers under a new id.

    `schema_hashes` are those of `types`, in their order: which version of each type it offers (`task_types`).
    `schema_revision` is the schema that its code was written for, NULL of a version that does not say: what came with a
    later schema it does not know.

    No column that a heartbeat or a tick writes is indexed, and half of each page is free: so both are HOT updates, and
    the table stays small.
    """

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    schema_hashes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    host: Mapped[str] = mapped_column(server_default=text("''"))
    pid: Mapped[int] = mapped_column(server_default=text("0"))
    version: Mapped[str] = mapped_column(server_default=text("''"))
    slots: Mapped[int] = mapped_column(server_default=text("0"))
    in_flight: Mapped[int] = mapped_column(server_default=text("0"))
    lease_seconds: Mapped[float] = mapped_column(server_default=text("30"))
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ticked_at: Mapped[datetime | None]
    steady_since: Mapped[datetime | None]
    reaches_broker: Mapped[bool]
    draining_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    schema_revision: Mapped[str | None]

    __table_args__ = (
        # The few workers that live, among the many starts that have ended. Its condition reads a column that a worker
        # writes once, so heartbeats and ticks stay HOT updates.
        Index("ix_workers_live", "id", postgresql_where=column("dead_at", DateTime).is_(None)),
        {"postgresql_with": {"fillfactor": 50, "autovacuum_vacuum_threshold": 200}},
    )
