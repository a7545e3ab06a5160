"""Prepares the database when a process starts: its schema, or a refusal to start, and its queues."""

from __future__ import annotations

from task_api.deadlines import DEADLINES, Deadlines
from task_api.settings import ApiSettings
from task_runtime import Misconfigured, get_logger
from task_store import SCHEMA_REVISION, Database, Queues, why_no_migration

_log = get_logger(__name__)


async def bring_up_to_date(settings: ApiSettings, database: Database, deadlines: Deadlines = DEADLINES) -> str:
    """Bring the schema up to date where it is older, add the queues, and return the revision: this one or a newer one.

    The queues are those of the settings; the SQL function `create_task()` takes no others. Waits up to
    `deadlines.database_seconds` for a database that does not answer. Several processes may do this at once.

    Raises:
        Misconfigured: the schema is older, and `TASK_API_MIGRATE` is off; or no migration leads from it.
        DatabaseUnavailableError, ContentionError: the database could not be used in time, or is read-only and lacks
            something.

    """
    revision = await _prepare_schema(settings, database, deadlines)
    await Queues(database).add(settings.queues, default_type=settings.default_type)
    return revision


async def _prepare_schema(settings: ApiSettings, database: Database, deadlines: Deadlines) -> str:
    revision = await database.wait_for_revision(deadlines.database_seconds)
    if (reason := why_no_migration(revision)) is not None:
        raise Misconfigured(reason)
    if revision is not None and revision >= SCHEMA_REVISION:
        return revision
    if not settings.migrate:
        has = "has no schema" if revision is None else f"has schema {revision}"
        raise Misconfigured(f"the database {has}, this version needs {SCHEMA_REVISION}: run `task-migrate`")
    from task_migrations import upgrade  # here: most starts find the schema, and need no Alembic

    await upgrade(settings.database_url.get_secret_value(), deadline_seconds=deadlines.database_seconds)
    _log.info("schema_upgraded", before=revision, now=SCHEMA_REVISION)
    return SCHEMA_REVISION
