"""Keys of callers, and the record of what operators did.

Revision ID: 0002
Revises: 0001f
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001f"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE api_keys (
        id text NOT NULL,
        name text NOT NULL,
        owner text NOT NULL,
        secret_hash bytea NOT NULL,
        scopes text[] NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_api_keys PRIMARY KEY (id),
        CONSTRAINT ck_api_keys_secret_hash CHECK (octet_length(secret_hash) = 32),
        CONSTRAINT ck_api_keys_scopes CHECK (cardinality(scopes) > 0)
    )
    """,
    """
    CREATE TABLE audit_log (
        id uuid NOT NULL,
        at timestamptz NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        target text,
        filter jsonb,
        count integer,
        request_id text,
        CONSTRAINT pk_audit_log PRIMARY KEY (id),
        CONSTRAINT ck_audit_log_count CHECK (count >= 0)
    )
    """,
)


def upgrade() -> None:
    """Create the tables. Nothing that is there changes."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them, keys and audit included."""
    op.drop_table("audit_log")
    op.drop_table("api_keys")
