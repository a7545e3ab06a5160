"""The table `api_keys`: the keys of callers. A row stays when its key is revoked or expires."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from sqlalchemy import CheckConstraint, Text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from task_store._models.base import Base


class ApiKeyRow(Base):
    """One key: what it may do, and for whom. Of its text there is the SHA-256 alone.

    The text has 32 random bytes, so that a plain hash cannot be turned back, and needs no pepper that could be lost.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str]
    secret_hash: Mapped[bytes] = mapped_column(BYTEA)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(f"octet_length(secret_hash) = {sha256().digest_size}", name="secret_hash"),
        CheckConstraint("cardinality(scopes) > 0", name="scopes"),
    )
