"""The rehearsal of docs/backup.md: the database of an API and its workers is dumped by pg_dump and restored."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from harness.api import TASKS
from harness.servers import new_database
from harness.tables import Tables
from harness.waiting import SECONDS, eventually
from harness.world import World
from task_bus.testing import RabbitServer
from task_contracts import TaskCreate, TaskUpdate
from task_migrations import upgrade
from task_store import Database, Tasks
from task_store.testing import PrivatePostgres

pytestmark = pytest.mark.private_servers

TASKS_EACH = 1_000
PROGRAM_SECONDS = 60.0
LONG_LEASE_SECONDS = 15.0
"""Longer than the database is away."""
DISPATCHED = "SELECT id FROM tasks WHERE status = 'PENDING' AND dispatched_at IS NOT NULL"


class Rehearsal:
    """pg_dump and pg_restore of the server's own version, as an operator calls them."""

    def __init__(self, postgres: PrivatePostgres, file: Path) -> None:
        self.file = file
        self._postgres = postgres

    @property
    def size(self) -> int:
        """Bytes of the dump."""
        return self.file.stat().st_size

    async def dump(self, url: str) -> float:
        """Dump a database; return the seconds it took."""
        return await self._run("pg_dump", "--format=custom", f"--file={self.file}", url)

    async def restore(self, url: str, file: Path | None = None) -> float:
        """Restore the dump, or another file, into an empty database; return the seconds it took."""
        options = ("--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={url}")
        return await self._run("pg_restore", *options, str(file or self.file))

    async def _run(self, program: str, *arguments: str) -> float:
        began = time.monotonic()
        command = [self._postgres.binaries.program(program), *arguments]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=PROGRAM_SECONDS)
        return time.monotonic() - began


@pytest.fixture
def rehearsal(breakable_postgres: PrivatePostgres, tmp_path: Path) -> Rehearsal:
    return Rehearsal(breakable_postgres, tmp_path / "tasks.dump")


@pytest.fixture
async def world(breakable_postgres: PrivatePostgres, broker_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose database is on a server of its own, under the usual name."""
    async with new_database(breakable_postgres, "tasks") as url:
        await upgrade(url)
        (tmp_path / "production").mkdir()
        async with World(url, broker_url, tmp_path / "production") as world:
            yield world


@pytest.fixture
def empty_broker_url(rabbitmq_server: RabbitServer) -> Iterator[str]:
    """Another RabbitMQ, as far as its users can tell, which knows nothing yet."""
    vhost = f"empty-{uuid4()}"
    rabbitmq_server.add_vhost(vhost)
    yield rabbitmq_server.url(vhost)
    rabbitmq_server.delete_vhost(vhost)


async def run_statements(postgres: PrivatePostgres, *statements: str) -> None:
    connection = await asyncpg.connect(postgres.url())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_new_workers_on_a_restored_database_with_an_empty_broker_run_what_had_not_ended(
    world: World,
    rehearsal: Rehearsal,
    breakable_postgres: PrivatePostgres,
    empty_broker_url: str,
    tmp_path: Path,
    say: Callable[[str], None],
) -> None:
    gate = world.gate()
    api, _ = await asyncio.gather(world.api(), world.worker(TASK_WORKER_CONCURRENCY="3"))
    completed = await world.insert([TaskCreate(name="done", type="echo", payload={"n": n}) for n in range(TASKS_EACH)])
    await world.settle()
    running = await api.create_all([{"type": "step.gate", "payload": gate.payload}] * 3)
    for task_id in running:
        await api.reaches(task_id, "IN_PROGRESS")
    waiting = await world.insert([TaskCreate(name="waiting", type="step.noop") for _ in range(TASKS_EACH)])
    await eventually(lambda: world.tables.rows(DISPATCHED), "some of what waits is dispatched")

    dumped = await rehearsal.dump(world.database_url)
    accepted_later = (await api.create(type="step.noop"))["id"]
    gate.open()
    await world.settle()
    before = {row["id"]: row for row in await world.tables.tasks()}
    await world.close()

    async with new_database(breakable_postgres, "restored") as url:
        restored = await rehearsal.restore(url)
        (tmp_path / "second").mkdir()
        async with World(url, empty_broker_url, tmp_path / "second") as second:
            stale = await second.tables.rows(DISPATCHED)
            second.accepted.ids |= {*completed, *running, *waiting}
            began = time.monotonic()
            api, _ = await asyncio.gather(second.api(), second.worker())
            await second.settle()
            settled = time.monotonic() - began
            ids, size = [*completed, *running, *waiting], rehearsal.size
            say(
                f"{len(ids)} tasks: dump {dumped:.2f} s, {size:,} bytes; restore {restored:.2f} s; "
                f"all ended {settled:.1f} s after the start, {len(stale)} of them dispatched by the old broker"
            )
            after = {row["id"]: row for row in await second.tables.tasks()}
            assert set(after) == set(ids)
            assert all(after[task_id] == before[task_id] for task_id in completed)
            assert {(after[one]["attempt"], after[one]["lost_count"]) for one in running} == {(2, 1)}
            assert {(after[one]["attempt"], after[one]["lost_count"]) for one in waiting} == {(1, 0)}
            assert stale
            assert {note.task_id for note in second.journal.notes()} == {*running, *waiting}
            assert (await api.http.get(f"{TASKS}/{accepted_later}")).status_code == 404
            await second.check()


async def test_p2_workers_that_live_through_a_restore_go_on_with_what_they_still_hold_and_stop_the_rest(
    world: World, rehearsal: Rehearsal, breakable_postgres: PrivatePostgres
) -> None:
    gate, lease = world.gate(), f"{LONG_LEASE_SECONDS:g}"
    api, worker = await asyncio.gather(world.api(), world.worker(TASK_WORKER_LEASE_SECONDS=lease))

    async def begin(**fields: str) -> UUID:
        return UUID((await api.create(type="step.gate", payload=gate.payload, **fields))["id"])

    async def hurry(task_id: UUID) -> None:
        async with Database(world.database_url) as database:
            await Tasks(database).reschedule(task_id, TaskUpdate(run_at=None))

    async def is_stopped() -> bool:
        return all(world.journal.of(one)[0].how == "CancelledError" for one in (waited, unknown))

    async def is_unknown() -> bool:
        return (await api.http.get(f"{TASKS}/{unknown}")).status_code == 404

    held = await begin()
    waited = await begin(run_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    await api.reaches(held, "IN_PROGRESS")
    await rehearsal.dump(world.database_url)
    await hurry(waited)
    unknown = await begin()
    for task_id in (waited, unknown):
        await api.reaches(task_id, "IN_PROGRESS")

    async with new_database(breakable_postgres, "restored") as url:
        await rehearsal.restore(url)
        await run_statements(
            breakable_postgres, "DROP DATABASE tasks WITH (FORCE)", "ALTER DATABASE restored RENAME TO tasks"
        )
    await eventually(is_stopped, "what the restored database does not know is stopped", seconds=LONG_LEASE_SECONDS)
    await eventually(is_unknown, "the API has connections again")
    await hurry(waited)
    gate.open()

    once, again = await api.all_complete([held, waited])
    assert (once["attempt"], again["attempt"]) == (1, 1)
    assert [note.how for note in world.journal.of(held)] == ["returned"]
    assert [note.how for note in world.journal.of(waited)] == ["CancelledError", "returned"]
    assert not worker.events("lease_over")


async def test_a_dump_moves_tasks_from_a_server_to_the_embedded_database_and_back(
    world: World, rehearsal: Rehearsal, breakable_postgres: PrivatePostgres, tmp_path: Path
) -> None:
    await world.insert([TaskCreate(name="a task", type="echo", payload={"n": n}) for n in range(20)])
    before = await world.tables.tasks()
    await rehearsal.dump(world.database_url)
    (tmp_path / "laptop").mkdir()

    async with World.embedded(tmp_path / "laptop") as laptop:
        for what, file in (("restore", rehearsal.file), ("backup", tmp_path / "back.dump")):
            process = laptop.start("task-service", what, "--data-dir", str(laptop.data_dir), str(file))
            assert await process.ended(seconds=SECONDS) == 0, process.tail()
    async with new_database(breakable_postgres, "back") as url:
        await rehearsal.restore(url, tmp_path / "back.dump")
        after = await Tables(url).tasks()

    assert after == before
