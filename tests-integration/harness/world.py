"""A world for one test: a database, a broker, and the processes that work on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import aio_pika

from harness.api import Accepted, Api
from harness.checker import Evidence, findings
from harness.journal import Journal
from harness.processes import Process, Processes, command
from harness.tables import Tables
from harness.waiting import SECONDS, eventually
from task_contracts import TaskCreate
from task_store import Database, NewTask, Tasks

HANDLERS = Path(__file__).parents[1] / "handlers"
LEASE_SECONDS = 3.0
PRIORITIES = ("high", "medium", "low")
_BROKER_SECONDS = 10.0


class Gate:
    """What handlers wait at (`handlers/steps.py`) until a test opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def payload(self) -> dict[str, str]:
        """What to give a task that is to wait here."""
        return {"gate": str(self.path)}

    def open(self) -> None:
        """Let everybody through, from now on."""
        self.path.touch()


class World:
    """Processes over one database and one broker, until the end of the `async with` block.

    Without a broker's URL the processes are not told of servers at all: `task-service` then brings its own.
    Commands are forked from a server that has imported them, or with `is_forked=False` executed as a shell does it.
    """

    def __init__(self, database_url: str, broker_url: str | None, folder: Path, *, is_forked: bool = True) -> None:
        self.database_url = database_url
        self.broker_url = broker_url
        self.folder = folder
        self.processes = Processes(folder)
        self.accepted = Accepted()
        self.tables = Tables(database_url)
        self.journal = Journal(folder / "journal")
        self.settings = {
            **({"TASK_DATABASE_URL": database_url, "TASK_BROKER_URL": broker_url} if broker_url else {}),
            "TASK_LOG_FORMAT": "json",
            "TASK_API_PORT": "0",
            "TASK_WORKER_HANDLERS": str(HANDLERS),
            "TASK_WORKER_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
            "TASK_WORKER_DRAIN_SECONDS": "10",
            "TASK_TEST_JOURNAL": str(self.journal.folder),
        }
        self._is_forked = is_forked
        self._apis: list[Api] = []
        self._database = Database(database_url)
        self._tasks = Tasks(self._database)

    @classmethod
    def embedded(cls, folder: Path, *, is_forked: bool = True) -> World:
        """Return a world for `task-service`, which brings database and broker."""
        url = f"postgresql://task@/tasks?host={folder / 'data' / 'socket'}&port=5432"
        return cls(url, None, folder, is_forked=is_forked)

    @property
    def data_dir(self) -> Path:
        """Where an embedded database is kept."""
        return self.folder / "data"

    def start(self, *words: str, **settings: str) -> Process:
        """Start a command of the project; `settings` are environment variables on top of the world's own."""
        name, *rest = words
        first = name if self._is_forked else command(name)
        return self.processes.start([first, *rest], {**self.settings, **settings})

    async def worker(self, **settings: str) -> Process:
        """Start a worker and return it once it has a lease."""
        process = self.start("task-worker", **settings)
        await process.logged("worker_registered")
        return process

    async def api(self, **settings: str) -> Api:
        """Start an API process and return it once it answers."""
        return await self.reach(self.start("task-api", **settings))

    async def service(self, *options: str, **settings: str) -> Api:
        """Start a service over its own database, or where it was left, and return it once it answers."""
        return await self.reach(self.start("task-service", "--data-dir", str(self.data_dir), *options, **settings))

    async def reach(self, process: Process, *, seconds: float = SECONDS) -> Api:
        """Return the API that a process serves, as soon as it says where."""
        said = await process.logged("listening", seconds=seconds)
        api = Api(process, said["url"], self.accepted)
        self._apis.append(api)
        return api

    def gate(self, name: str = "gate") -> Gate:
        """Return a closed gate."""
        return Gate(self.folder / name)

    async def insert(self, asked: Sequence[TaskCreate]) -> list[UUID]:
        """Create tasks past the API, by the store: thousands a second."""
        created = await asyncio.gather(*(self._tasks.create(NewTask(one, one.type or "echo")) for one in asked))
        self.accepted.ids.update(task.id for task in created)
        return [task.id for task in created]

    async def ready(self, queues: Sequence[str] = ("default",)) -> dict[str, int]:
        """Return how many messages wait in each broker queue, and in the one of dead letters."""
        names = [f"tasks.{queue}.{priority}" for queue in queues for priority in PRIORITIES]
        async with asyncio.timeout(_BROKER_SECONDS):
            async with await aio_pika.connect(self.broker_url) as connection:
                channel = await connection.channel()
                declared = [await channel.declare_queue(name, passive=True) for name in [*names, "tasks.dead"]]
                return {queue.name: queue.declaration_result.message_count or 0 for queue in declared}

    async def settle(self, *, seconds: float = SECONDS) -> None:
        """Wait until every task has ended."""

        await eventually(self.tables.are_all_ended, "every task has ended", seconds=seconds)

    async def check(self, *, is_broker_up: bool = True, seconds: float = SECONDS) -> None:
        """Wait until all is at rest, stop all processes, and hold what they left against the invariants.

        A database that goes with its service is read before.
        """
        await self.settle(seconds=seconds)
        if self.broker_url is None:
            _assert_sound(await self._evidence())
            await self.close()
            return
        if is_broker_up:
            await eventually(self._is_broker_empty, "the broker queues are empty")
        # Read before the workers stop: one that stops gives back what it has not tried, stale or not.
        ready = await self.ready() if is_broker_up else {}
        await self.close()
        await eventually(self._is_database_left, "the services' connections to the database are gone")
        _assert_sound(await self._evidence(ready=ready))

    async def close(self) -> None:
        """Stop all processes, and give back all connections. Safe to repeat."""
        for api in self._apis:
            await api.aclose()
        self._apis.clear()
        await self._database.aclose()
        await self.processes.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _is_broker_empty(self) -> bool:
        return not any((await self.ready()).values())

    async def _is_database_left(self) -> bool:
        # Clients only: autovacuum's processes come and go.
        others = "datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return not await self.tables.rows(f"SELECT pid FROM pg_stat_activity WHERE {others}")

    async def _evidence(self, *, ready: Mapping[str, int] = {}) -> Evidence:
        return Evidence(
            accepted=frozenset(self.accepted.ids),
            cancelled=frozenset(self.accepted.cancelled),
            tasks=await self.tables.tasks(),
            attempts=await self.tables.attempts(),
            notes=self.journal.notes(),
            frozen=frozenset(process.pid for process in self.processes.all if process.was_frozen),
            ready=ready,
        )


def _assert_sound(evidence: Evidence) -> None:
    found = findings(evidence)
    assert not found, "\n".join(found)
