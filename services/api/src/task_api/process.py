"""The process `task-api`: the API over PostgreSQL and RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from task_api.app import create_app
from task_api.database import bring_up_to_date
from task_api.deadlines import DEADLINES, Deadlines
from task_api.openapi import VERSION
from task_api.parts import ApiParts
from task_api.server import Listener, listen, serve
from task_api.settings import ApiSettings
from task_api.startup_warnings import api_startup_warnings
from task_api.watch.watch import Watch
from task_bus.signals import open_signals, send_changed
from task_runtime import ExitCode, Misconfigured, ShutdownSignals, get_logger, start_block
from task_store import (
    Changes,
    ContentionError,
    Database,
    DatabaseFacts,
    DatabaseUnavailableError,
    OnChanged,
    Tasks,
    UnusableDatabaseError,
)

_log = get_logger(__name__)

_CLOSING_SECONDS = 5.0


async def run_api(settings: ApiSettings, deadlines: Deadlines = DEADLINES) -> ExitCode:
    """Serve until SIGTERM or SIGINT, then answer the open requests and end. A second signal does not wait for them.

    Returns FAILED if the database does not answer at the start.

    Raises:
        Misconfigured: the broker is `memory://`, the address or the database cannot be used, or the schema is too old.

    """
    settings.require_shared_broker()
    listener = listen(settings.host, settings.port)
    with listener.socket, ShutdownSignals() as shutdown:
        try:
            await _run(settings, listener, shutdown, deadlines)
        except UnusableDatabaseError as error:
            raise Misconfigured(f"TASK_DATABASE_URL: {error.advice}") from error
        except (ContentionError, DatabaseUnavailableError) as error:
            _log.error("database_unreachable", reason=str(error))
            return ExitCode.FAILED
    return ExitCode.OK


async def _run(settings: ApiSettings, listener: Listener, shutdown: ShutdownSignals, deadlines: Deadlines) -> None:
    async with _database(settings, 1) as health:
        found = await shutdown.unless_stopped(_check_database(settings, health, deadlines))
        if found is not None:
            _show_start_block(settings, listener, *found)
            await _serve(settings, listener, shutdown, health, deadlines)


async def _check_database(settings: ApiSettings, database: Database, deadlines: Deadlines) -> tuple[DatabaseFacts, str]:
    """Wait until the database answers, and bring its schema and its queues up to date."""
    revision = await bring_up_to_date(settings, database, deadlines)
    return await database.facts(), revision


def _show_start_block(settings: ApiSettings, listener: Listener, facts: DatabaseFacts, revision: str) -> None:
    rows = [
        ("address", listener.url),
        ("docs", f"{listener.url}/docs"),
        ("database", f"{settings.database_url.get_secret_value()} (PostgreSQL {facts.version})"),
        ("schema revision", revision),
        ("broker", settings.broker_url.get_secret_value()),
        ("queues", ", ".join(settings.queues)),
    ]
    start_block(
        f"task-api {VERSION}", rows, api_startup_warnings(settings, facts, revision), log_format=settings.log_format
    )


async def _serve(
    settings: ApiSettings, listener: Listener, shutdown: ShutdownSignals, health: Database, deadlines: Deadlines
) -> None:
    url = settings.broker_url.get_secret_value()
    async with (
        open_signals(url, name="task-api") as signals,
        _database(settings, settings.database_pool_size, on_changed=partial(send_changed, signals)) as database,
    ):
        tasks = Tasks(database)
        async with Watch(Changes(database), signals, shutdown.stop) as watch:
            parts = ApiParts(settings, tasks, health, signals, watch, database, shutdown.stop, deadlines)
            await serve(create_app(parts), listener, shutdown.stop, shutdown.hurry)
        async with asyncio.timeout(_CLOSING_SECONDS):
            await tasks.aclose()


@asynccontextmanager
async def _database(
    settings: ApiSettings, pool_size: int, *, on_changed: OnChanged | None = None
) -> AsyncIterator[Database]:
    url = settings.database_url.get_secret_value()
    database = Database(url, pool_size=pool_size, application_name="task-api", on_changed=on_changed)
    try:
        yield database
    finally:
        try:
            await database.aclose()
        except DatabaseUnavailableError as error:
            _log.warning("database_not_closed", reason=str(error))
