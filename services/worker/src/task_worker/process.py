"""The process `task-worker`: one worker over PostgreSQL and RabbitMQ."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Mapping

import structlog

from task_bus import open_bus
from task_bus.signals import open_signals
from task_runtime import (
    ExitCode,
    LoopKeepsDyingError,
    Misconfigured,
    ShutdownSignals,
    safe_url,
    shared_startup_warnings,
    start_block,
)
from task_store import SCHEMA_REVISION, Database, DatabaseFacts, DatabaseUnavailableError
from task_worker.builtin import HttpHosts, is_built_in
from task_worker.handlers import Handler, HandlerError
from task_worker.lease.alive_file import AliveFile
from task_worker.loader import load_handlers
from task_worker.settings import WorkerSettings
from task_worker.worker import CONNECTIONS, Worker

_log = structlog.get_logger(__name__)
_DATABASE_SECONDS = 60.0
_CLOSING_SECONDS = 5.0
_SHORT_DRAIN = (
    "TASK_WORKER_DRAIN_SECONDS ({:g}) is shorter than the longest timeout of a handler ({:g}): "
    "a task that still runs then is stopped and runs again"
)


async def run_worker(settings: WorkerSettings) -> ExitCode:
    """Run a worker until SIGTERM or SIGINT, and drain; the second one hurries.

    Raises:
        Misconfigured: a handler cannot be used, the broker is `memory://`, the alive file cannot be written, or the
            schema is too old.

    """
    settings.require_shared_broker()
    _begin_alive_file(settings)
    handlers = handlers_or_misconfigured(settings.handlers, settings.http_hosts)
    with ShutdownSignals() as asked:
        try:
            found = await asked.unless_stopped(_look(settings))
            if found is not None:
                _show(settings, handlers, *found)
                await _work(settings, handlers, asked)
        except DatabaseUnavailableError as error:
            _log.error("database_unreachable", reason=str(error))  # says it all
            return ExitCode.FAILED
        except LoopKeepsDyingError as error:
            _log.critical("worker_gives_up", reason=str(error))
            return ExitCode.FAILED
    return ExitCode.OK


async def _work(settings: WorkerSettings, handlers: Mapping[str, Handler], asked: ShutdownSignals) -> None:
    url = settings.broker_url.get_secret_value()
    bus = open_bus(url, queues=settings.queues, name="task-worker")
    signals = open_signals(url, name="task-worker-signals")
    bus.start()
    signals.start()
    try:
        await Worker(settings, handlers, bus, signals).run(asked.stop, asked.hurry)
    finally:
        await asyncio.wait([asyncio.create_task(part.aclose()) for part in (signals, bus)], timeout=_CLOSING_SECONDS)


def handlers_or_misconfigured(place: str | None, http_hosts: HttpHosts | None = None) -> dict[str, Handler]:
    """Load the handlers at `place`; a mistake there is one clear line and exit code 2."""
    try:
        return load_handlers(place, http_hosts)
    except HandlerError as error:
        raise Misconfigured(f"TASK_WORKER_HANDLERS: {error}") from error


def _begin_alive_file(settings: WorkerSettings) -> None:
    try:
        AliveFile(settings.alive_file, settings.lease_seconds).begin()
    except OSError as error:
        raise Misconfigured(f"TASK_WORKER_ALIVE_FILE: {settings.alive_file}: {error.strerror}") from error


async def _look(settings: WorkerSettings) -> tuple[DatabaseFacts, str]:
    """Wait until the database answers, and hold its schema against the code's."""
    async with Database(settings.database_url.get_secret_value(), pool_size=1) as database:
        revision = await database.wait_for_revision(_DATABASE_SECONDS)
        if revision is None or revision < SCHEMA_REVISION:
            has = "has no schema" if revision is None else f"has schema {revision}"
            raise Misconfigured(f"the database {has}, this version needs {SCHEMA_REVISION}: run `task-migrate`")
        return await database.facts(), revision


def _show(settings: WorkerSettings, handlers: Mapping[str, Handler], facts: DatabaseFacts, revision: str) -> None:
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
    start_block(
        title, rows, worker_startup_warnings(settings, handlers, facts, revision), log_format=settings.log_format
    )


def http_rows(settings: WorkerSettings) -> list[tuple[str, str]]:
    """Return what the start block says of `http.request`: nothing where it is not offered."""
    return [] if settings.http_hosts is None else [("HTTP hosts", settings.http_hosts.text)]


def worker_startup_warnings(
    settings: WorkerSettings, handlers: Mapping[str, Handler], facts: DatabaseFacts, revision: str
) -> list[str]:
    """Return what an operator should look at before trusting this worker with work."""
    own = [handler for handler in handlers.values() if not is_built_in(handler)]
    longest = max((handler.timeout_seconds or settings.timeout_seconds for handler in own), default=0.0)
    checks = [
        (
            not own and settings.http_hosts is None,
            "no handlers beyond the built-in ones: set TASK_WORKER_HANDLERS (task-service: --handlers)",
        ),
        (settings.retention_days == 0, "TASK_WORKER_RETENTION_DAYS is 0: ended tasks are kept for ever"),
        (settings.drain_seconds < longest, _SHORT_DRAIN.format(settings.drain_seconds, longest)),
    ]
    texts = [text for is_so, text in checks if is_so]
    return [*texts, *facts.startup_warnings(revision, CONNECTIONS), *shared_startup_warnings(settings)]
