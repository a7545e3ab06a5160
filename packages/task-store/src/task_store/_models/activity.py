"""The table `activity_minutes`: how many tasks were accepted, begun and ended in each minute."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


def _count(kind: type[BigInteger] | type[Integer] = Integer) -> Mapped[int]:
    return mapped_column(kind, server_default=text("0"))


class ActivityRow(Base):
    """What happened in one minute to the tasks of a queue, a priority and a type.

    Sums of what API and workers have counted; `type` is `other` where no worker offers it. A crash loses ten seconds of
    it. No task depends on it.
    """

    __tablename__ = "activity_minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    accepted: Mapped[int] = _count()
    started: Mapped[int] = _count()
    completed: Mapped[int] = _count()
    failed: Mapped[int] = _count()
    cancelled: Mapped[int] = _count()
    retried: Mapped[int] = _count()
    wait_ms_sum: Mapped[int] = _count(BigInteger)
    run_ms_sum: Mapped[int] = _count(BigInteger)

    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)
