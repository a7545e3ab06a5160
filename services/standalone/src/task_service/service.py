"""Starts and stops the whole service in one process: database, bus, API and worker.

**Invariants**

- The database starts first and stops last. The API stops before the worker drains.
- A reload restarts the worker and nothing else (`reloading_worker`).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from task_api.access.access import open_access
from task_api.app import create_app
from task_api.database import bring_up_to_date
from task_api.offered_types import tell_metrics
from task_api.offers import Offers
from task_api.parts import ApiParts
from task_api.server import Listener, listen, serve
from task_api.watch.watch import Watch
from task_bus import MemoryHub, TaskBus, open_bus
from task_bus.signals import Signals, open_signals, send_changed
from task_runtime import (
    NO_METER,
    ExitCode,
    LoopKeepsDyingError,
    Meter,
    Misconfigured,
    ShutdownSignals,
    Tracer,
    get_logger,
    open_metrics,
    open_tracing,
)
from task_runtime.observers import Observers
from task_service.embedded_database import embedded_database
from task_service.exit_policy import ExitPolicy
from task_service.handler_reloader import HandlerReloader
from task_service.options import Options, Settings
from task_service.reloading_worker import ReloadingWorker
from task_service.start_block import StartBlock
from task_store import (
    Activities,
    ActivityCounts,
    ActivityWriter,
    Changes,
    Database,
    DatabaseFacts,
    LiveWorkers,
    OnChanged,
    OnHappened,
    StoreError,
    Tasks,
    UnusableDatabaseError,
    open_scopes,
)
from task_store.embedded import EmbeddedPostgres
from task_worker.handlers import HandlerError
from task_worker.printed import log_prints

if TYPE_CHECKING:
    from task_runtime.metrics.counts import Metrics

_log = get_logger(__name__)


async def run_service(options: Options) -> ExitCode:
    """Run the service until SIGTERM or Ctrl-C, then drain and stop. A second signal does not wait for tasks.

    Returns FAILED if the database cannot be used at the start, or a part of the worker died too often.

    Raises:
        Misconfigured: the port is in use, a handler cannot be loaded, or the data folder or the database cannot be
            used.

    """
    settings = Settings.read(options)  # wrong ones end the process before anything has started
    try:
        reloader = HandlerReloader(settings.worker.handlers, settings.worker.http_hosts)
    except HandlerError as error:
        raise Misconfigured(f"--handlers: {error}") from error
    listener = listen(settings.api.host, settings.api.port)
    with listener.socket, ShutdownSignals("running tasks and requests") as shutdown:
        try:
            async with _own_database(options, shutdown.stop) as postgres:
                settings = Settings.read(options, postgres.url if postgres else None, api_url=listener.url)
                settings.worker.hide_api_key()
                exit_policy = ExitPolicy(postgres.stop_now) if postgres else ExitPolicy()
                await Service(options, settings, listener, reloader, exit_policy).run(shutdown)
        except UnusableDatabaseError as error:
            raise Misconfigured(f"TASK_DATABASE_URL: {error.advice}") from error
        except (LoopKeepsDyingError, StoreError) as error:
            _log.critical("service_gives_up", reason=str(error))
            return ExitCode.FAILED
    return ExitCode.OK


class Service:
    """API and worker over one database and one bus."""

    def __init__(
        self,
        options: Options,
        settings: Settings,
        listener: Listener,
        reloader: HandlerReloader,
        exit_policy: ExitPolicy,
    ) -> None:
        self._options = options
        self._settings = settings
        self._listener = listener
        self._reloader = reloader
        self._exit_policy = exit_policy

    async def run(self, shutdown: ShutdownSignals) -> None:
        """Run until asked to stop.

        Raises:
            LoopKeepsDyingError: a part of the worker died too often.
            StoreError: the database cannot be used at the start.

        """
        async with self._database(1) as health:
            found = await shutdown.unless_stopped(self._check_database(health))
            if found is not None:
                self._show_start_block(*found)
                version = importlib.metadata.version("task-service")
                open_keys = partial(open_scopes, self._settings.api.database_url.get_secret_value())
                with (
                    log_prints(),
                    open_metrics(self._settings.api, "task-service", version, open_keys) as metrics,
                    open_tracing("task-service", version, (metrics or NO_METER).export_failed) as tracer,
                ):
                    await self._serve(shutdown, health, metrics, tracer)

    async def _check_database(self, database: Database) -> tuple[DatabaseFacts, str]:
        """Wait until the database answers, and bring its schema and its queues up to date."""
        revision = await bring_up_to_date(self._settings.api, database)
        return await database.facts(), revision

    def _show_start_block(self, facts: DatabaseFacts, revision: str) -> None:
        handlers = self._reloader.handlers
        StartBlock(self._options, self._settings, self._listener.url, handlers, facts, revision).show()

    async def _serve(
        self, shutdown: ShutdownSignals, health: Database, metrics: Metrics | None, tracer: Tracer
    ) -> None:
        url, hub = self._settings.worker.broker_url.get_secret_value(), MemoryHub()
        counts = ActivityCounts()
        observers = Observers([counts] if metrics is None else [counts, metrics])
        async with (
            open_bus(url, queues=self._settings.worker.queues, name="task-service", hub=hub) as bus,
            open_signals(url, name="task-service-signals", hub=hub) as signals,
            self._database(
                self._settings.api.database_pool_size,
                on_changed=partial(send_changed, signals),
                on_happened=observers.tell,
            ) as database,
            Offers(LiveWorkers(health)) as offers,
            tell_metrics(metrics, offers, reaches_broker=lambda: bus.is_connected),
            ActivityWriter(activities := Activities(database, offers.live_types), counts),
            Watch(Changes(database), signals, shutdown.stop) as watch,
            open_access(self._settings.api, database, signals) as access,
        ):
            tasks = Tasks(database)
            parts = ApiParts(
                self._settings.api,
                tasks,
                activities,
                health,
                signals,
                watch,
                database,
                offers,
                shutdown.stop,
                observer=observers,
                tracer=tracer,
                access=access,
            )
            app = create_app(parts)
            drain = asyncio.Event()
            working = asyncio.create_task(
                self._worker(bus, signals, metrics or NO_METER, tracer).run(drain, shutdown.hurry)
            )
            serving = asyncio.create_task(serve(app, self._listener, shutdown.stop, shutdown.hurry))
            await asyncio.wait([working, serving], return_when=asyncio.FIRST_COMPLETED)
            shutdown.stop.set()  # where one part has failed, the other stops too
            await asyncio.gather(serving, return_exceptions=True)
            await tasks.aclose()
            self._exit_policy.is_leaving = True
            drain.set()
            await working
            await serving

    def _worker(self, bus: TaskBus, signals: Signals, meter: Meter, tracer: Tracer) -> ReloadingWorker:
        return ReloadingWorker(
            self._settings.worker,
            self._reloader,
            bus,
            signals,
            is_reloading=self._options.is_reloading,
            end_process=self._exit_policy.end_process,
            meter=meter,
            tracer=tracer,
        )

    @asynccontextmanager
    async def _database(
        self, pool_size: int, *, on_changed: OnChanged | None = None, on_happened: OnHappened | None = None
    ) -> AsyncIterator[Database]:
        url = self._settings.api.database_url.get_secret_value()
        database = Database(
            url,
            pool_size=pool_size,
            application_name="task-service",
            on_changed=on_changed,
            on_happened=on_happened,
        )
        try:
            yield database
        finally:
            with suppress(StoreError):  # leaving anyway
                await database.aclose()


def _own_database(options: Options, stop: asyncio.Event) -> AbstractAsyncContextManager[EmbeddedPostgres | None]:
    return embedded_database(options.data_dir, stop) if options.has_own_database else nullcontext()
