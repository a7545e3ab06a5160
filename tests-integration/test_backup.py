"""`task-service backup` and `restore`: what a dump holds, what runs again, and what is refused."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from harness.api import TASKS
from harness.processes import Process, clean_environment, command
from harness.servers import end_servers_on, servers_on
from harness.users import ordinary_user
from harness.waiting import SECONDS, eventually
from harness.world import World
from task_contracts import TaskCreate
from task_migrations import upgrade
from task_store import Database, NewTask, Tasks
from task_store.embedded import EmbeddedPostgres, PostgresBinaries, all_binaries, find_binaries, open_existing

pytestmark = pytest.mark.private_servers

FAILED, MISCONFIGURED = 1, 2
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
DUMPS_WAITING = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A folder for the service's data. What runs on it afterwards is ended."""
    folder = tmp_path / "here"
    folder.mkdir()
    async with World.embedded(folder) as world:
        yield world
    end_servers_on(folder)


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[World]:
    """Another one."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    async with World.embedded(folder) as world:
        yield world
    end_servers_on(folder)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a dump may go."""
    return tmp_path / "tasks.dump"


async def succeeds(process: Process) -> list[str]:
    """Return the lines with which a command says what it has done."""
    assert await process.ended(seconds=SECONDS) == 0, process.tail()
    return process.log.splitlines()


async def fails(process: Process, code: int, said: str) -> None:
    """Hold a command to its exit code and to one line of explanation."""
    assert await process.ended(seconds=SECONDS) == code, process.tail()
    (line,) = process.log.splitlines()
    assert line.startswith("error: ")
    assert said in line


async def make_database(data_dir: Path, *, tasks: int, binaries: PostgresBinaries | None = None) -> list[UUID]:
    """Leave what a service leaves that has accepted some tasks and has run none."""
    async with EmbeddedPostgres(data_dir, binaries=binaries and binaries.folder) as postgres:
        await upgrade(postgres.url)
        async with Database(postgres.url) as database:
            new = NewTask(TaskCreate(name="a task"), type="step.noop")
            return [(await Tasks(database).create(new)).id for _ in range(tasks)]


async def statuses_in(world: World) -> Counter[str]:
    """Return how many tasks are in each status, in a database that is stopped."""
    async with EmbeddedPostgres(world.data_dir):
        return await world.tables.statuses()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content_of(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def start(world: World, what: str, file: Path | str, *options: str, **settings: str) -> Process:
    return world.start("task-service", what, "--data-dir", str(world.data_dir), *options, str(file), **settings)


async def test_after_a_restore_what_had_not_ended_when_the_dump_was_made_runs_and_nothing_else(
    world: World, elsewhere: World, file: Path
) -> None:
    gate = world.gate()
    service = await world.service(TASK_WORKER_CONCURRENCY="3")
    completed, failed = [(await service.create(type=type_))["id"] for type_ in ("step.noop", "step.fail")]
    await service.reaches(completed, "COMPLETED")
    await service.reaches(failed, "FAILED")
    cancelled, scheduled = [(await service.create(type="step.noop", run_at=TOMORROW))["id"] for _ in range(2)]
    await service.cancel(cancelled)
    running = await service.create_all([{"type": "step.gate", "payload": gate.payload}] * 2)
    stopping = (await service.create(type="step.slow_to_stop", payload=gate.payload))["id"]
    for task_id in [*running, stopping]:
        await service.reaches(task_id, "IN_PROGRESS")
    assert (await service.cancel(stopping)).status_code == 202
    waiting = await service.create_all([{"type": "step.noop"}] * 3)
    before = {str(row["id"]): row for row in await world.tables.tasks()}

    (line,) = await succeeds(start(world, "backup", file))
    await fails(start(world, "restore", file, "--replace"), MISCONFIGURED, f"in use by process {service.process.pid}")
    accepted_later = await service.create(type="step.noop")
    gate.open()
    await service.all_complete([*running, *waiting, accepted_later["id"]])
    service.process.kill()
    await service.process.ended()
    restored = await succeeds(start(elsewhere, "restore", file))

    assert "10 tasks" in line
    assert "3 IN_PROGRESS" in line
    assert f"{len(content_of(file)):,} bytes" in line
    assert "10 tasks" in restored[0]
    assert restored[1].startswith("3 of them were running: the sweep")
    assert servers_on(elsewhere.folder) == []
    elsewhere.accepted.ids |= {row["id"] for row in before.values()}
    again = await elsewhere.service()
    ran_again = await again.all_complete(running)
    ran = await again.all_complete(waiting)
    await again.reaches(stopping, "CANCELLED")
    assert {(task["attempt"], task["lost_count"], task["failures"]) for task in ran_again} == {(2, 1, 0)}
    assert {(task["attempt"], task["lost_count"], task["failures"]) for task in ran} == {(1, 0, 0)}
    after = {str(row["id"]): row for row in await elsewhere.tables.tasks()}
    assert set(after) == set(before)
    assert all(after[task_id] == before[task_id] for task_id in (completed, failed, cancelled, scheduled))
    assert {note.task_id for note in elsewhere.journal.notes()} == {*running, *waiting}
    assert (await again.http.get(f"{TASKS}/{accepted_later['id']}")).status_code == 404
    (in_sql,) = await elsewhere.tables.rows("""SELECT create_task('{"name": "a task"}')::text AS id""")
    elsewhere.accepted.ids.add(UUID(in_sql["id"]))
    await again.reaches(in_sql["id"], "COMPLETED")
    await again.cancel(scheduled)
    await elsewhere.check()


async def test_a_service_that_is_stopped_is_backed_up_and_stays_stopped(world: World, file: Path) -> None:
    service = await world.service()
    task = await service.create(type="step.noop")
    done = await service.reaches(task["id"], "COMPLETED")
    assert await service.process.stop() == 0
    before = names_in(world.data_dir)

    (line,) = await succeeds(start(world, "backup", file))
    piped = start(world, "backup", "-")
    (said,) = await succeeds(piped)
    await succeeds(start(world, "backup", file, "--force"))

    assert "1 task (1 COMPLETED)" in line
    assert "1 task (1 COMPLETED)" in said
    assert content_of(piped.output_file).startswith(b"PGDMP")
    assert (servers_on(world.folder), names_in(world.data_dir)) == ([], before)
    assert names_in(file.parent) == ["here", file.name]

    *_, kept = await succeeds(start(world, "restore", file, "--replace"))
    assert kept.startswith(f"what was there before is kept in {world.data_dir / 'postgres.replaced-'}")
    again = await world.service()
    assert await again.get(task["id"]) == done


async def test_a_database_without_tasks_is_replaced_unasked(world: World, elsewhere: World, file: Path) -> None:
    await make_database(world.data_dir, tasks=1)
    await make_database(elsewhere.data_dir, tasks=0)
    await succeeds(start(world, "backup", file))

    _, kept = await succeeds(start(elsewhere, "restore", file))

    assert kept.startswith("what was there before is kept in")
    assert await statuses_in(elsewhere) == {"NEW": 1}


async def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    world: World, elsewhere: World, file: Path, tmp_path: Path
) -> None:
    await make_database(world.data_dir, tasks=1)
    await succeeds(start(world, "backup", file))
    cut, foreign = tmp_path / "cut.dump", tmp_path / "foreign.dump"
    write(cut, content_of(file)[:-1])
    async with EmbeddedPostgres(tmp_path / "foreign"), open_existing(tmp_path / "foreign") as other:
        await other.dump(foreign)
    before = names_in(world.data_dir), content_of(file)

    refused = [
        (start(world, "backup", file), MISCONFIGURED, "--force"),
        (start(world, "backup", tmp_path), MISCONFIGURED, "is no file"),
        (start(world, "restore", file), MISCONFIGURED, "holds 1 task (1 NEW)"),
        (start(world, "restore", file, TASK_DATABASE_URL="postgresql://db/x"), MISCONFIGURED, "TASK_DATABASE_URL"),
        (start(elsewhere, "backup", tmp_path / "new"), MISCONFIGURED, "holds no database"),
        (start(elsewhere, "restore", tmp_path / "missing"), MISCONFIGURED, "No such file"),
        (start(elsewhere, "restore", __file__), MISCONFIGURED, "cannot be restored"),
        (start(elsewhere, "restore", foreign), MISCONFIGURED, "something else"),
        (start(elsewhere, "restore", cut), FAILED, "end of file"),
    ]
    for process, code, said in refused:
        await fails(process, code, said)

    assert (names_in(world.data_dir), content_of(file)) == before
    assert names_in(elsewhere.data_dir) == ["service.lock"]
    assert "new" not in names_in(tmp_path)
    assert servers_on(tmp_path) == []
    assert await statuses_in(world) == {"NEW": 1}


async def test_a_backup_that_is_stopped_leaves_no_file_and_does_not_disturb_the_service(
    world: World, file: Path
) -> None:
    service = await world.service()
    connection = await asyncpg.connect(world.database_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE task_attempts IN ACCESS EXCLUSIVE MODE")
        backup = start(world, "backup", file)

        async def is_dumping() -> bool:
            return bool(await world.tables.rows(DUMPS_WAITING))

        await eventually(is_dumping, "pg_dump waits for the lock")
        backup.terminate()
        await fails(backup, FAILED, "stopped before it was done")
    await connection.close()

    assert names_in(file.parent) == ["here"]
    assert await world.tables.rows(DUMPS_WAITING) == []
    await service.reaches((await service.create(type="step.noop"))["id"], "COMPLETED")


@pytest.mark.skipif(len(all_binaries()) < 2, reason="one major version of PostgreSQL on this machine")
async def test_data_of_an_older_postgresql_moves_to_the_newest_by_the_commands_that_the_start_names(
    world: World, file: Path
) -> None:
    newest, older = find_binaries().major, min(all_binaries(), key=lambda binaries: binaries.major)
    (task_id,) = await make_database(world.data_dir, tasks=1, binaries=older)

    told = f"`task-service restore --data-dir {world.data_dir} --replace FILE`; the programs of {older.major} are in"
    await fails(world.start("task-service", "--data-dir", str(world.data_dir)), MISCONFIGURED, told)
    (line,) = await succeeds(start(world, "backup", file))
    restored, *_ = await succeeds(start(world, "restore", file, "--replace"))

    assert f"PostgreSQL {older.version}" in line
    assert f"PostgreSQL {newest}." in restored
    service = await world.service()
    await service.reaches(task_id, "COMPLETED")


async def test_it_works_as_an_ordinary_user(world: World) -> None:
    user = ordinary_user()
    with tempfile.TemporaryDirectory(prefix="ts-home-") as home:
        user.own(Path(home))
        ours = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
        environment = {**ours, "HOME": home, "TASK_LOG_FORMAT": "json", "XDG_DATA_HOME": ""}

        def run(*words: str) -> Process:
            return world.processes.start([*user.prefix, command("task-service"), *words], environment)

        api = await world.reach(run("--port", "0"))
        task = await api.create(payload={"who": "nobody special"})
        done = await api.reaches(task["id"], "COMPLETED")
        await succeeds(run("backup", f"{home}/dump"))
        assert await api.process.stop() == 0
        await succeeds(run("restore", "--replace", f"{home}/dump"))

        again = await world.reach(run("--port", "0"))
        assert await again.get(task["id"]) == done
        assert await again.process.stop() == 0
        assert servers_on(Path(home)) == []
