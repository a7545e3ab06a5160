"""Fixtures that run workers in this process, with a real PostgreSQL and the bus in memory, and read rows by SQL."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog

from task_bus import BrokerQueue, MemoryHub, TaskBus, open_bus
from task_bus.signals import Signals, open_signals
from task_contracts import Priority, Signal, SignalKind, Task
from task_contracts.testing import a_create
from task_runtime import NO_METER, NO_TRACER, Meter, Tracer
from task_store import Claim, Claimed, Database, NewTask, Tasks
from task_store.testing import Table, connect_past_store, create_tables
from task_worker.handlers import Handler
from task_worker.loader import load_handlers
from task_worker.settings import WorkerSettings
from task_worker.timings import ClaimTimings, WorkerTimings
from task_worker.worker import Worker

SECONDS = 60.0
NO_BROKER = "amqp://guest:secret-of-the-broker@127.0.0.1:1/"
LEASE_SECONDS = 3.0
Until = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="session")
def prepare_database() -> Callable[[str], Awaitable[None]]:
    return create_tables


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> Iterator[None]:
    """Let workers log only warnings and errors."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


@pytest.fixture
def timings() -> WorkerTimings:
    """Return the timings of the workers; they look for their first lease more often than by default."""
    return WorkerTimings(claim=ClaimTimings(retry_seconds=0.02))


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[Table]:
    connection = await connect_past_store(database_url)
    yield Table(connection)
    await connection.close(timeout=SECONDS)


@pytest.fixture
async def tasks(database_url: str) -> AsyncIterator[Tasks]:
    async with Database(database_url, pool_size=2) as database:
        yield Tasks(database)


@pytest.fixture
def create(tasks: Tasks, wake: Callable[[], None]) -> Callable[..., Awaitable[Task]]:
    """Create a task and wake the leader, as the API does."""

    async def one(type_: str = "echo", *, priority: str = "MEDIUM", **fields: Any) -> Task:
        fields["priority"] = Priority(priority)
        task = await tasks.create(NewTask(a_create(**fields), type_))
        wake()
        return task

    return one


@pytest.fixture
def ended(table: Table, until: Until) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Wait until a task has ended, and return its row."""

    async def wait(task_id: UUID, seconds: float = SECONDS) -> dict[str, Any]:
        async def terminal() -> dict[str, Any] | None:
            row = await table.task(task_id)
            return row if row["status"] in {"COMPLETED", "FAILED", "CANCELLED"} else None

        return dict(await until(terminal, seconds))

    return wait


class LosingBus:
    """A bus that takes every message and delivers none."""

    def __init__(self, bus: TaskBus) -> None:
        self._bus = bus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        del queue, ids, timeout


class RepeatingBus(LosingBus):
    """A bus that delivers every message five times."""

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        for _ in range(5):
            await self._bus.publish(queue, ids, timeout=timeout)


class Running:
    """A worker that runs in this process until `finish`."""

    def __init__(
        self,
        settings: WorkerSettings,
        handlers: dict[str, Handler],
        bus: TaskBus,
        signals: Signals,
        timings: WorkerTimings,
        meter: Meter = NO_METER,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.signals = signals
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.recycle = asyncio.Event()
        self.exit_codes: list[int] = []
        """The exit codes with which the process would have ended."""
        self.polled = 0
        """How many tasks it has claimed straight from the table."""
        self.worker = Worker(
            settings,
            handlers,
            bus,
            signals,
            end_process=self.exit_codes.append,
            timings=timings,
            meter=meter,
            tracer=tracer,
        )
        self.task = asyncio.create_task(self.worker.run(self.stop, self.hurry, self.recycle))

    @property
    def id(self) -> UUID | None:
        return self.worker._lease.worker_id

    async def finish(self, *, hurry: bool = False) -> None:
        """Ask it to stop, and wait until it has."""
        self.stop.set()
        if hurry:
            self.hurry.set()
        async with asyncio.timeout(SECONDS):
            await self.task


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
async def signals(hub: MemoryHub) -> AsyncIterator[Signals]:
    """The signals of another process, such as an API."""
    async with open_signals("memory://", name="test", hub=hub) as signals:
        yield signals


@pytest.fixture
def wake(signals: Signals) -> Callable[[], None]:
    """Send a wake-up, as the API does after a commit."""
    return lambda: signals.send(Signal(kind=SignalKind.DUE, queue="default"))


@pytest.fixture
async def start(
    database_url: str,
    hub: MemoryHub,
    handlers_of: Callable[..., dict[str, Handler]],
    until: Until,
    timings: WorkerTimings,
) -> AsyncIterator[Start]:
    """Start a worker with these handlers, those of its setting `handlers`, and the built-in ones.

    `losing`: all messages get lost. `repeating`: each comes five times. `connected=False`: it never reaches the broker.
    """
    started: list[Running] = []

    async def one(
        *functions: Callable[..., Any],
        losing: bool = False,
        repeating: bool = False,
        connected: bool = True,
        url: str = database_url,
        timings: WorkerTimings = timings,
        meter: Meter = NO_METER,
        tracer: Tracer = NO_TRACER,
        **fields: Any,
    ) -> Running:
        defaults = {
            "database_url": url,
            "broker_url": "memory://",
            "lease_seconds": LEASE_SECONDS,
            "drain_seconds": 5,
            "concurrency": 10,
            "log_level": "WARNING",
            "log_format": "json",
        }
        settings = WorkerSettings(**{**defaults, **fields})
        bus: Any = open_bus("memory://", queues=settings.queues, name="worker", hub=hub)
        signals = open_signals("memory://", name="worker", hub=hub)
        if connected:
            await stack.enter_async_context(bus)
            await stack.enter_async_context(signals)
        handlers = {**load_handlers(settings.handlers, settings.http_hosts), **handlers_of(*functions)}
        kind = LosingBus if losing else RepeatingBus if repeating else None
        running = Running(settings, handlers, kind(bus) if kind else bus, signals, timings, meter, tracer)
        _count_polled(running)
        started.append(running)
        await until(lambda: running.id or running.task.done())
        return running

    async with AsyncExitStack() as stack:
        yield one
        await asyncio.gather(*(running.finish(hurry=True) for running in started), return_exceptions=True)


def _count_polled(running: Running) -> None:
    claims = running.worker._claim_loop._claimer._claims
    found: set[UUID] = set()

    def counted(statement: Callable[..., Awaitable[Claimed]], of: Callable[[Claim], bool]) -> Any:
        async def one(*values: Any, **named: Any) -> Claimed:
            claimed = await statement(*values, **named)
            running.polled += sum(of(claim) for claim in claimed.claims)
            return claimed

        return one

    def noted(scan: Callable[..., Awaitable[list[UUID]]]) -> Any:
        async def one(**named: Any) -> list[UUID]:
            ids = await scan(**named)
            found.update(ids)
            return ids

        return one

    wrappers = {
        "by_id": counted(claims.by_id, lambda claim: claim.id in found),
        "suspect": counted(claims.suspect, lambda _: True),
        "find_overdue": noted(claims.find_overdue),
        "find_in_whole": noted(claims.find_in_whole),
    }
    for name, wrapper in wrappers.items():  # each counts and calls the real one
        setattr(claims, name, wrapper)


@pytest.fixture
async def worker_process(
    database_url: str, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """Start a worker in a process of its own, with the handlers of a file."""
    started: list[asyncio.subprocess.Process] = []

    async def one(handlers: Path, *, stderr: int | None = None, **fields: Any) -> asyncio.subprocess.Process:
        named = {"database_url": database_url, "handlers": str(handlers), **fields}
        script = Path(__file__).with_name("worker_process.py")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASK_")}
        command = (sys.executable, str(script), json.dumps(named))
        started.append(await asyncio.create_subprocess_exec(*command, env=environment, cwd=tmp_path, stderr=stderr))
        return started[-1]

    yield one
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def command(
    database_url: str, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """Start `task-worker` with these words and settings, and a broker that does not exist."""
    started: list[asyncio.subprocess.Process] = []

    async def one(*words: str, leads_group: bool = False, **settings: str) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TASK_")}
        named = {"TASK_DATABASE_URL": database_url, "TASK_BROKER_URL": NO_BROKER, "TASK_LOG_FORMAT": "console"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "task_worker",
            *words,
            env={**inherited, **named, **settings},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=leads_group,
        )
        started.append(process)
        return process

    yield one
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()
