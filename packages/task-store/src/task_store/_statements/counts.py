"""Counting all tasks, for a backup. It reads the whole table, so no caller of the API gets it."""

from __future__ import annotations

from sqlalchemy import func, select

from task_store._models import TaskRow
from task_store._statements.statement import Statement

COUNT_BY_STATUS = Statement(
    select(TaskRow.status, func.count().label("tasks")).group_by(TaskRow.status),
    "Counts all tasks; a row for each status that occurs.",
    scans=("tasks",),
)
