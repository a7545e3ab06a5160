"""How the server is set up, and which revision its schema has."""

from __future__ import annotations

from sqlalchemy import text

FACTS = text(
    "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_num,"
    " current_setting('max_connections')::int AS max_connections,"
    " current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit"
)
"""Returns the one row of a `DatabaseFacts`."""

REVISION = text("SELECT version_num FROM alembic_version")
"""Returns the revision, or no row before the first migration; without the table it is an error of class 42."""
