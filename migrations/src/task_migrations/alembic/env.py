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

from alembic import context
from sqlalchemy import Connection, text

from task_store import FOREIGN_ERRORS, Base, StoreError, UnusableDatabaseError, classify, open_engine, why_no_migration

LOCK_KEY = 0x7461736B  # "task", in ASCII


def run(connection: Connection) -> None:
    """Run the migrations on a connection."""
    context.configure(connection=connection, target_metadata=Base.metadata)
    lock_timeout = context.config.attributes.get("lock_timeout", "5s")
    with context.begin_transaction():
        connection.execute(text("SELECT set_config('lock_timeout', :value, true)"), {"value": lock_timeout})
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        if (reason := why_no_migration(context.get_context().get_current_revision())) is not None:
            sys.exit(reason)
        context.run_migrations()


async def run_on_url(url: str) -> None:
    """Connect to a database and run the migrations. What keeps it from connecting is one line, and exit code 2 or 1."""
    try:
        engine = open_engine(url)
        async with engine.connect() as connection:
            await connection.run_sync(run)
        await engine.dispose()
    except UnusableDatabaseError as error:
        sys.stderr.write(f"TASK_DATABASE_URL: {error.advice}\n")
        sys.exit(2)
    except StoreError as error:
        sys.exit(str(error))
    except FOREIGN_ERRORS as error:
        sys.exit(str(classify(error)))


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
