"""Applies the migrations from code: again and again while the database starts or its tables are locked."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from task_contracts import BackOff
from task_store import (
    FOREIGN_ERRORS,
    ContentionError,
    Database,
    DatabaseUnavailableError,
    UnmigratableSchemaError,
    UnusableDatabaseError,
    classify,
    open_engine,
    why_no_migration,
)

_log = logging.getLogger(__name__)
_BACK_OFF = BackOff(first_seconds=0.2, longest_seconds=3.0)


def head() -> str:
    """Return the newest revision that this package has.

    Raises:
        LookupError: the package was installed without its migrations.

    """
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise LookupError("the package task-migrations was installed without its migrations")
    return newest


async def upgrade(
    url: str, *, revision: str = "head", deadline_seconds: float = 60.0, lock_timeout: str = "2s"
) -> None:
    """Bring a database to `revision`.

    Does nothing if it is there already, or if its schema is newer than this package. Safe to repeat. Several processes
    may call it at once; within one process only one call at a time (Alembic's context is global).

    Args:
        url: the database, as `task_store.Database` takes it.
        revision: the revision to reach; by default the newest.
        deadline_seconds: how long it is tried again while the database starts or its tables are locked.
        lock_timeout: how long each try waits for a lock, as PostgreSQL writes durations.

    Raises:
        UnusableDatabaseError: waiting does not help. Nothing has changed.
        DatabaseUnavailableError, ContentionError: the deadline is over. Nothing has changed.
        UnmigratableSchemaError: no migration leads from the schema of the database. Nothing has changed.
        StoreError: the database refuses the migration. Nothing has changed.
        CommandError: of Alembic: there is no such revision.

    """
    clock = asyncio.get_running_loop().time
    end, failures = clock() + deadline_seconds, 0
    while True:
        try:
            await _upgrade_once(url, revision, lock_timeout)
        except UnusableDatabaseError:
            raise
        except (ContentionError, DatabaseUnavailableError) as error:
            failures += 1
            pause = _BACK_OFF.pause_seconds(failures)
            if clock() + pause > end:
                raise
            _log.warning("migration_delayed", extra={"reason": str(error), "again_in_seconds": pause})
        else:
            return
        await asyncio.sleep(pause)


async def _upgrade_once(url: str, revision: str, lock_timeout: str) -> None:
    async with Database(url) as database:
        found, newest = await database.revision(), head()
    if (reason := why_no_migration(found)) is not None:
        raise UnmigratableSchemaError(reason)
    if revision == "head" and found is not None and found > newest:
        _log.warning("schema_is_newer", extra={"found": found, "newest_known": newest})
        return
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run, revision, lock_timeout)
    except FOREIGN_ERRORS as error:
        raise classify(error) from error
    finally:
        await engine.dispose()


def _run(connection: Connection, revision: str, lock_timeout: str) -> None:
    config = _config()
    config.attributes.update(connection=connection, lock_timeout=lock_timeout)
    command.upgrade(config, revision)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    return config
