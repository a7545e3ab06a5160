"""What all tables share: how constraints are named, and which PostgreSQL types stand for Python's.

A JSON column is a `str`: it leaves the driver as text (`task_store.database`).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Base of the models. Every constraint has a fixed name, so that an error can say which one was violated."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 # read by SQLAlchemy as a class attribute
        str: Text(),
        UUID: Uuid(),
        datetime: DateTime(timezone=True),
    }
