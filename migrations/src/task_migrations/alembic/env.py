"""Alembic's entry: runs the migrations on a given connection, or on TASK_DATABASE_URL.

**Invariants**

- All pending migrations run in one transaction that holds an advisory lock. Of several replicas that start at once, one
  migrates, and the others then find nothing to do.
- No statement waits longer than `lock_timeout` for a lock: a waiting ALTER TABLE would stop every later statement on
  that table. The caller tries again, as `task_migrations.upgrade` does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, text

from task_store import (
    FOREIGN_ERRORS,
    Base,
    ContentionError,
    DatabaseUnavailableError,
    StoreError,
    UnusableDatabaseError,
    classify,
    open_engine,
    why_no_migration,
)

LOCK_KEY = 0x7461736B  # "task", in ASCII


def run(connection: Connection) -> list[str]:
    """Run the migrations on a connection, and return a line for each that was applied, or one for none."""
    lines: list[str] = []

    def on_version_apply(
        ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
    ) -> None:
        del ctx, heads, run_args  # Alembic passes them by these names
        verb = "stamped" if step.is_stamp else "applied" if step.is_upgrade else "took back"
        lines.extend(
            f"{verb} {script.revision}: {script.doc}" for script in step.up_revisions if isinstance(script, Script)
        )

    context.configure(connection=connection, target_metadata=Base.metadata, on_version_apply=on_version_apply)
    lock_timeout = context.config.attributes.get("lock_timeout", "5s")
    with context.begin_transaction():
        connection.execute(text("SELECT set_config('lock_timeout', :value, true)"), {"value": lock_timeout})
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        if (reason := why_no_migration(context.get_context().get_current_revision())) is not None:
            sys.exit(reason)
        context.run_migrations()
        found = context.get_context().get_current_revision()
    return lines or [f"nothing to do: the schema is at revision {found}" if found else "nothing to do: no schema"]


def _changes_schema() -> bool:
    """Return whether the command is to change the revision (`upgrade`), and not only to look (`current`)."""
    try:
        context.get_revision_argument()
    except KeyError:  # so Alembic (1.20) says that a command has no revision to reach
        return False
    return True


async def run_on_url(url: str) -> None:
    """Connect to a database and run the migrations. What keeps it from connecting is one line, and exit code 2 or 1."""
    try:
        engine = open_engine(url)
        async with engine.connect() as connection:
            lines = await connection.run_sync(run)
        await engine.dispose()
        if _changes_schema():
            context.config.print_stdout("\n".join(lines))
    except UnusableDatabaseError as error:
        sys.stderr.write(f"TASK_DATABASE_URL: {error.advice}\n")
        sys.exit(2)
    except StoreError as error:
        sys.exit(str(error))
    except FOREIGN_ERRORS as error:
        reason = classify(error)
        if not isinstance(reason, ContentionError | DatabaseUnavailableError):
            raise  # a mistake in a migration, for whoever writes it
        sys.exit(str(reason))


def run_offline() -> None:
    """Print the SQL, to be applied by hand (`alembic upgrade head --sql`)."""
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
elif (handed := context.config.attributes.get("connection")) is not None:
    run(handed)
elif given := os.environ.get("TASK_DATABASE_URL"):
    asyncio.run(run_on_url(given))
else:
    sys.exit("TASK_DATABASE_URL is not set: name the database to migrate, postgresql://user:password@host/tasks")
