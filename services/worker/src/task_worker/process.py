"""The process `task-worker`: one worker over PostgreSQL and RabbitMQ."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import partial

from task_bus import open_bus
from task_bus.signals import open_signals
from task_runtime import (
    NO_METER,
    ExitCode,
    LoopKeepsDyingError,
    Misconfigured,
    ShutdownSignals,
    get_logger,
    open_metrics,
    open_tracing,
    safe_url,
    start_block,
)
from task_store import (
    SCHEMA_REVISION,
    Database,
    DatabaseFacts,
    DatabaseUnavailableError,
    UnusableDatabaseError,
    open_scopes,
    why_no_migration,
)
from task_worker.builtin import HttpHosts
from task_worker.exits import end_soon
from task_worker.handlers import Handler, HandlerError
from task_worker.lease.alive_file import AliveFile
from task_worker.loader import load_handlers
from task_worker.places import Places
from task_worker.printed import log_prints
from task_worker.recycling import RecycleLimits, Recycler
from task_worker.settings import WorkerSettings
from task_worker.startup_warnings import worker_startup_warnings
from task_worker.worker import Worker

_log = get_logger(__name__)
_DATABASE_SECONDS = 60.0


async def run_worker(
    settings: WorkerSettings, *, number: int | None = None, database_seconds: float = _DATABASE_SECONDS
) -> ExitCode:
    """Run a worker until SIGTERM, SIGINT or a limit of `recycling`, then drain; a second signal skips the waiting.

    `number` says which of several processes under one parent it is.

    At the start it waits up to `database_seconds` for the database, and for its schema where there is none at all: the
    API or `task-migrate`, started with it, may be about to create it.

    Raises:
        Misconfigured: a handler or the database cannot be used, the broker is `memory://`, the alive file cannot be
            written, or the schema is too old or still missing.

    """
    settings.require_shared_broker()
    _begin_alive_file(settings)
    handlers = handlers_or_misconfigured(settings.handlers, settings.http_hosts)
    with ShutdownSignals() as shutdown:
        try:
            found = await shutdown.unless_stopped(_check_database(settings, database_seconds))
            if found is not None:
                _show_start_block(settings, handlers, *found, number=number)
                await _work(settings, handlers, shutdown)
        except UnusableDatabaseError as error:
            raise Misconfigured(f"TASK_DATABASE_URL: {error.advice}") from error
        except DatabaseUnavailableError as error:
            _log.error("database_unreachable", reason=str(error))  # without a traceback: the reason says it all
            return ExitCode.FAILED
        except LoopKeepsDyingError as error:
            _log.critical("worker_gives_up", reason=str(error))
            return ExitCode.FAILED
    return ExitCode.OK


async def _work(settings: WorkerSettings, handlers: Mapping[str, Handler], shutdown: ShutdownSignals) -> None:
    url = settings.broker_url.get_secret_value()
    version = importlib.metadata.version("task-worker")
    open_keys = partial(open_scopes, settings.database_url.get_secret_value())
    with (
        log_prints(),
        open_metrics(settings, "task-worker", version, open_keys) as metrics,
        open_tracing("task-worker", version, (metrics or NO_METER).export_failed) as tracer,
    ):
        async with (
            open_bus(url, queues=settings.queues, name="task-worker") as bus,
            open_signals(url, name="task-worker-signals") as signals,
        ):
            worker = Worker(
                settings, handlers, bus, signals, end_soon=end_soon, meter=metrics or NO_METER, tracer=tracer
            )
            limits = RecycleLimits(settings.max_tasks, settings.max_memory_mb)
            async with Recycler(limits, lambda: worker.attempts_ended).watch() as recycle:
                await worker.run(shutdown.stop, shutdown.hurry, recycle)


def handlers_or_misconfigured(places: Places | None, http_hosts: HttpHosts | None = None) -> dict[str, Handler]:
    """Load the handlers at `places`.

    Raises:
        Misconfigured: they cannot be loaded; the text says which one and why.

    """
    try:
        return load_handlers(places, http_hosts)
    except HandlerError as error:
        raise Misconfigured(f"TASK_WORKER_HANDLERS: {error}") from error


def _begin_alive_file(settings: WorkerSettings) -> None:
    try:
        AliveFile(settings.alive_file, settings.lease_seconds).begin()
    except OSError as error:
        raise Misconfigured(f"TASK_WORKER_ALIVE_FILE: {settings.alive_file}: {error.strerror}") from error


async def _check_database(settings: WorkerSettings, seconds: float) -> tuple[DatabaseFacts, str]:
    """Wait until the database answers and has a schema; return its facts and the revision of its schema."""
    async with Database(settings.database_url.get_secret_value(), pool_size=1) as database:
        revision = await database.wait_for_revision(seconds, needs_schema=True)
        if (reason := why_no_migration(revision)) is not None:
            raise Misconfigured(reason)
        if revision is None or revision < SCHEMA_REVISION:
            has = "has no schema" if revision is None else f"has schema {revision}"
            raise Misconfigured(f"the database {has}, this version needs {SCHEMA_REVISION}: run `task-migrate`")
        return await database.facts(), revision


def _show_start_block(
    settings: WorkerSettings,
    handlers: Mapping[str, Handler],
    facts: DatabaseFacts,
    revision: str,
    *,
    number: int | None,
) -> None:
    rows = [
        ("database", f"{safe_url(settings.database_url.get_secret_value())} (PostgreSQL {facts.version})"),
        ("schema revision", revision),
        ("broker", safe_url(settings.broker_url.get_secret_value())),
        ("queues", ", ".join(settings.serves)),
        ("handlers", ", ".join(sorted(handlers))),
        *http_rows(settings),
        ("concurrency", str(settings.concurrency)),
    ]
    title = f"task-worker {importlib.metadata.version('task-worker')}"
    if number is not None:
        title += f", process {number} of {settings.processes}"
        rows += [("metrics port", str(settings.metrics_port))] if settings.metrics_port else []
    start_block(
        title, rows, worker_startup_warnings(settings, handlers, facts, revision), log_format=settings.log_format
    )


def http_rows(settings: WorkerSettings) -> list[tuple[str, str]]:
    """Return the rows of the start block about `http.request`; none if it is not offered."""
    return [] if settings.http_hosts is None else [("HTTP hosts", settings.http_hosts.text)]
