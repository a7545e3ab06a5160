"""Pauses, and which schema the code of a worker knows.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE pauses (
        id uuid NOT NULL,
        queue text,
        type text,
        priority text,
        reason text,
        paused_by text NOT NULL,
        created_at timestamptz NOT NULL,
        effective_at timestamptz,
        until timestamptz,
        ended_at timestamptz,
        settled_at timestamptz,
        CONSTRAINT pk_pauses PRIMARY KEY (id),
        CONSTRAINT ck_pauses_priority CHECK (priority IN ('LOW', 'MEDIUM', 'HIGH')),
        CONSTRAINT ck_pauses_settled_last CHECK (settled_at IS NULL OR ended_at IS NOT NULL)
    )
    """,
    "CREATE INDEX ix_pauses_open ON pauses (id) WHERE settled_at IS NULL",
    "ALTER TABLE workers ADD COLUMN schema_revision text",
)


def upgrade() -> None:
    """Add a table and a column."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them: what is paused begins again."""
    op.drop_column("workers", "schema_revision")
    op.drop_table("pauses")
