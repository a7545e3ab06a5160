"""Reads how the server is set up, whether it takes writes, and the revision of the schema."""

from __future__ import annotations

from sqlalchemy import text

from task_store._statements.statement import Statement

FACTS = Statement(
    text(
        "SELECT current_setting('server_version') AS version,"
        " current_setting('server_version_num')::int AS version_num,"
        " current_setting('max_connections')::int AS max_connections,"
        " current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit"
    ),
    "Returns the version of the server, and the settings that an operator is warned of.",
)

IS_READ_ONLY = Statement(
    text("SELECT current_setting('transaction_read_only')::boolean AS is_read_only"),
    "Returns whether the server refuses writes on this connection, as a standby does.",
)

REVISION = Statement(
    text("SELECT version_num FROM alembic_version"),
    "Returns the revision of the schema. The table is missing until the first migration, and may be empty.",
    scans=("alembic_version",),
)
