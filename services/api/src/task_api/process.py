"""The process `task-api`: the API over PostgreSQL and RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from task_api.access.access import open_access
from task_api.app import create_app
from task_api.database import bring_up_to_date
from task_api.deadlines import DEADLINES, Deadlines
from task_api.offered_types import tell_metrics
from task_api.offers import Offers
from task_api.openapi import VERSION
from task_api.parts import ApiParts
from task_api.server import Listener, listen, serve
from task_api.settings import ApiSettings
from task_api.startup_warnings import api_startup_warnings
from task_api.watch.watch import Watch
from task_bus.signals import open_signals, send_changed
from task_runtime import (
    NO_METER,
    ExitCode,
    Misconfigured,
    ShutdownSignals,
    get_logger,
    open_metrics,
    open_tracing,
    start_block,
)
from task_runtime.observers import Observers
from task_store import (
    Activities,
    ActivityCounts,
    ActivityWriter,
    Changes,
    ContentionError,
    Database,
    DatabaseFacts,
    DatabaseUnavailableError,
    LiveWorkers,
    OnChanged,
    OnHappened,
    Tasks,
    UnusableDatabaseError,
    open_scopes,
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
    with listener.socket, ShutdownSignals("requests under way") as shutdown:
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
    with (
        open_metrics(settings, "task-api", VERSION, partial(open_scopes, _url(settings))) as metrics,
        open_tracing("task-api", VERSION, (metrics or NO_METER).export_failed) as tracer,
    ):
        counts = ActivityCounts()
        observers = Observers([counts] if metrics is None else [counts, metrics])
        async with (
            open_signals(url, name="task-api") as signals,
            _database(
                settings,
                settings.database_pool_size,
                on_changed=partial(send_changed, signals),
                on_happened=observers.tell,
            ) as database,
        ):
            tasks = Tasks(database)
            async with (
                Offers(LiveWorkers(health)) as offers,
                tell_metrics(metrics, offers, reaches_broker=lambda: signals.is_connected),
                ActivityWriter(activities := Activities(database, offers.live_types), counts),
                Watch(Changes(database), signals, shutdown.stop) as watch,
                open_access(settings, database, signals) as access,
            ):
                parts = ApiParts(
                    settings,
                    tasks,
                    activities,
                    health,
                    signals,
                    watch,
                    database,
                    offers,
                    shutdown.stop,
                    deadlines,
                    observers,
                    tracer,
                    access,
                )
                await serve(create_app(parts), listener, shutdown.stop, shutdown.hurry)
            async with asyncio.timeout(_CLOSING_SECONDS):
                await tasks.aclose()


@asynccontextmanager
async def _database(
    settings: ApiSettings,
    pool_size: int,
    *,
    on_changed: OnChanged | None = None,
    on_happened: OnHappened | None = None,
) -> AsyncIterator[Database]:
    database = Database(
        _url(settings), pool_size=pool_size, application_name="task-api", on_changed=on_changed, on_happened=on_happened
    )
    try:
        yield database
    finally:
        try:
            await database.aclose()
        except DatabaseUnavailableError as error:
            _log.warning("database_not_closed", reason=str(error))


def _url(settings: ApiSettings) -> str:
    return settings.database_url.get_secret_value()
