from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from task_store.embedded import (
    BinariesNotFoundError,
    DatabaseExistsError,
    DataDirInUseError,
    EmbeddedPostgres,
    NoDatabaseError,
    ProgramFailedError,
    ServerTimings,
    UnusableDataDirError,
    UnusableDumpError,
    all_binaries,
    find_binaries,
    open_existing,
    read_dump,
    restoring,
)
from task_store.embedded import _data_dir as data_dir_module
from task_store.embedded._data_dir import DataDir

pytestmark = pytest.mark.private_servers

StartService = Callable[..., subprocess.Popen[str]]

ROWS = 5000
RESTORE = """
import asyncio, sys
from pathlib import Path
from task_store.embedded import read_dump, restoring

async def main():
    dump = await read_dump(Path(sys.argv[2]))
    async with restoring(Path(sys.argv[1]), dump):
        print("restored", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def fill(url: str, rows: int = ROWS) -> None:
    await ask(url, f"CREATE TABLE things AS SELECT id, md5(id::text) FROM generate_series(1, {rows}) AS id")


async def count(data_dir: Path, **options: Path) -> object:
    async with EmbeddedPostgres(data_dir, **options) as postgres:
        return await ask(postgres.url, "SELECT count(*) FROM things")


async def write_dump(data_dir: Path, file: Path, **options: ServerTimings) -> None:
    async with open_existing(data_dir, **options) as existing:
        await existing.dump(file)


def cut_off(file: Path, share: float) -> None:
    """Leave a share of a file, less one byte."""
    os.truncate(file, int(share * file.stat().st_size) - 1)


async def restore(data_dir: Path, file: Path, *, replace: bool = False) -> Path | None:
    async with restoring(data_dir, await read_dump(file), replace=replace) as restored:
        assert await ask(restored.url, "SELECT count(*) FROM things") is not None
    return restored.replaced


@pytest.fixture
async def dump(data_dir: Path) -> Path:
    """A dump of `ROWS` rows beside `data_dir`, which does not exist."""
    file, source = data_dir.with_name("dump"), data_dir.with_name("source")
    async with EmbeddedPostgres(source) as postgres:
        await fill(postgres.url)
    await write_dump(source, file)
    return file


async def test_stopped_database_is_started_for_its_dump_and_restored_elsewhere(
    data_dir: Path, look: SimpleNamespace
) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        await fill(postgres.url)
    before, elsewhere = look.names_in(data_dir), data_dir.with_name("elsewhere")

    await write_dump(data_dir, data_dir.with_name("dump"))

    assert (look.servers_on(data_dir), look.names_in(data_dir)) == ([], before)
    assert await restore(elsewhere, data_dir.with_name("dump")) is None
    assert (look.servers_on(elsewhere), look.names_in(elsewhere)) == ([], ["postgres", "service.lock"])
    assert await count(elsewhere) == ROWS


async def test_running_service_keeps_its_database_while_it_is_dumped(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    await fill(url := service.stdout.readline().strip())
    server = look.postmaster_of(data_dir)

    await write_dump(data_dir, data_dir.with_name("dump"))

    assert look.postmaster_of(data_dir) == server
    assert await ask(url, "SELECT count(*) FROM things") == ROWS
    assert service.communicate("\n", timeout=20) == ("", "")
    assert (await read_dump(data_dir.with_name("dump"))).tables == {"things"}


async def test_service_that_is_starting_is_waited_for_wherever_its_socket_will_be(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir, has_asked, connect = data_dir.with_name("too long for a socket" * 5), asyncio.Event(), asyncpg.connect

    async def ask_and_tell(*values: object, **named: object) -> object:
        has_asked.set()
        return await connect(*values, **named)

    async with EmbeddedPostgres(data_dir) as postgres:
        await fill(postgres.url)
    holder = DataDir(data_dir)
    holder.acquire()
    monkeypatch.setattr(asyncpg, "connect", ask_and_tell)
    dumping = asyncio.create_task(write_dump(data_dir, file := data_dir.with_name("dump")))
    await has_asked.wait()
    holder.release()

    async with EmbeddedPostgres(data_dir):
        await dumping

    assert (await read_dump(file)).tables == {"things"}


async def test_folder_that_is_held_without_a_database_is_in_use(data_dir: Path, dump: Path) -> None:
    await restore(data_dir, dump)
    holder = DataDir(data_dir)
    holder.acquire()

    with pytest.raises(DataDirInUseError):
        await write_dump(data_dir, data_dir.with_name("another"), timings=ServerTimings(join_seconds=0.1))

    holder.release()


async def test_folder_without_a_database_has_nothing_to_dump(data_dir: Path, look: SimpleNamespace) -> None:
    with pytest.raises(NoDatabaseError, match=str(data_dir)):
        await write_dump(data_dir, data_dir.with_name("dump"))

    assert data_dir.name not in look.names_in(data_dir.parent)


async def test_data_of_a_version_that_is_not_here_says_which_is_needed(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("12\n")

    with pytest.raises(BinariesNotFoundError, match="no PostgreSQL 12 found"):
        await write_dump(data_dir, data_dir.with_name("dump"))


@pytest.mark.skipif(len(all_binaries()) < 2, reason="one major version of PostgreSQL on this machine")
async def test_data_of_an_older_version_is_dumped_by_its_own_programs_and_restored_by_the_newest(
    data_dir: Path,
) -> None:
    newest, older = find_binaries(), min(all_binaries(), key=lambda binaries: binaries.major)
    async with EmbeddedPostgres(data_dir, binaries=older.folder) as postgres:
        await fill(postgres.url)

    await write_dump(data_dir, data_dir.with_name("dump"))
    replaced = await restore(data_dir, data_dir.with_name("dump"), replace=True)

    versions = [int((folder / "PG_VERSION").read_text()) for folder in (replaced, data_dir / "postgres")]
    assert versions == [older.major, newest.major]
    assert await count(data_dir) == ROWS


async def test_restore_is_refused_while_a_service_runs(data_dir: Path, dump: Path, start_service: StartService) -> None:
    service = start_service(data_dir)
    service.stdout.readline()

    with pytest.raises(DataDirInUseError, match=f"process {service.pid}"):
        await restore(data_dir, dump, replace=True)

    assert service.communicate("\n", timeout=20) == ("", "")


async def test_restore_replaces_a_database_only_when_told_to_and_keeps_it(
    data_dir: Path, dump: Path, look: SimpleNamespace
) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        await fill(postgres.url, rows=1)
    before = look.names_in(data_dir)
    with pytest.raises(DatabaseExistsError):
        await restore(data_dir, dump)
    assert (look.names_in(data_dir), await count(data_dir)) == (before, 1)

    replaced = await restore(data_dir, dump, replace=True)

    assert look.names_in(data_dir) == sorted([*before, replaced.name])
    assert await count(data_dir) == ROWS
    (data_dir / "postgres").rename(data_dir / "no longer wanted")
    replaced.rename(data_dir / "postgres")
    assert await count(data_dir) == 1


async def test_server_that_a_killed_service_left_is_stopped_before_its_files_are_put_aside(
    data_dir: Path, dump: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    service.stdout.readline()
    left = look.postmaster_of(data_dir)
    service.kill()
    service.wait(timeout=10)

    replaced = await restore(data_dir, dump, replace=True)

    assert look.has_ended(left)
    assert not (replaced / "postmaster.pid").exists()
    assert await count(data_dir) == ROWS


async def test_restore_whose_result_is_refused_changes_nothing(
    data_dir: Path, dump: Path, look: SimpleNamespace
) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        await fill(postgres.url, rows=1)
    before = look.names_in(data_dir)

    with pytest.raises(LookupError):
        async with restoring(data_dir, await read_dump(dump), replace=True):
            raise LookupError("not what it should be")

    assert (look.servers_on(data_dir), look.names_in(data_dir)) == ([], before)
    assert await count(data_dir) == 1


@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
async def test_dump_that_was_cut_off_restores_nothing(
    data_dir: Path, dump: Path, look: SimpleNamespace, share: float
) -> None:
    cut_off(dump, share)

    with pytest.raises((ProgramFailedError, UnusableDumpError)) as failed:
        await restore(data_dir, dump)

    assert "\n" not in str(failed.value)
    assert look.servers_on(data_dir) == []
    made = data_dir.name in look.names_in(data_dir.parent)
    assert not made or look.names_in(data_dir) == ["service.lock"]


async def test_restore_that_is_killed_leaves_nothing_that_the_next_start_minds(
    data_dir: Path, dump: Path, look: SimpleNamespace
) -> None:
    command = [sys.executable, "-c", RESTORE, str(data_dir), str(dump)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as restorer:  # noqa: ASYNC220 # read to a line
        restorer.stdout.readline()
        restorer.kill()
    left = look.servers_on(data_dir)
    assert left
    assert any("unfinished" in name for name in look.names_in(data_dir))

    async with EmbeddedPostgres(data_dir):
        assert not any("unfinished" in name for name in look.names_in(data_dir))
        assert all(map(look.has_ended, left))


async def test_folder_whose_restore_was_killed_between_two_names_begins_nothing_anew(
    data_dir: Path, dump: Path, look: SimpleNamespace
) -> None:
    async with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "postgres").rename(DataDir(data_dir).aside())
    before = look.names_in(data_dir)

    with pytest.raises(UnusableDataDirError, match=r"Repeat the restore, or rename postgres\.replaced-"):
        await EmbeddedPostgres(data_dir).start()

    assert look.names_in(data_dir) == before
    assert await restore(data_dir, dump) is None
    assert await count(data_dir) == ROWS


async def test_new_files_that_cannot_have_their_place_leave_the_old_ones_in_it(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        await fill(postgres.url, rows=1)
    data = DataDir(data_dir)

    with pytest.raises(UnusableDataDirError):
        data.replace_cluster(data_dir / "not there", data.aside())

    assert await count(data_dir) == 1


async def test_names_that_the_disk_does_not_confirm_leave_no_folder_without_a_database(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = data_dir.with_name("new")
    for folder, rows in ((data_dir, 1), (new, 2)):
        async with EmbeddedPostgres(folder) as postgres:
            await fill(postgres.url, rows)
    data = DataDir(data_dir)
    aside = data.aside()

    def refuse(_: Path) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(data_dir_module, "sync_folder", refuse)
    with pytest.raises(UnusableDataDirError, match="Input/output"):
        data.replace_cluster(DataDir(new).cluster, aside)

    assert aside.is_dir()
    assert await count(data_dir) == 2


@pytest.mark.parametrize("stranger", ["holiday.jpg", "postgres"])
async def test_restore_puts_nothing_among_the_files_of_others(
    data_dir: Path, dump: Path, stranger: str, look: SimpleNamespace
) -> None:
    (data_dir / stranger).mkdir(parents=True)

    with pytest.raises(UnusableDataDirError, match=f"not ours .*{stranger}"):
        await restore(data_dir, dump, replace=True)

    assert look.names_in(data_dir) == sorted([stranger, "service.lock"])


async def test_restore_that_is_cancelled_leaves_nothing(data_dir: Path, dump: Path, look: SimpleNamespace) -> None:
    restored = asyncio.Event()

    async def restore_and_wait() -> None:
        async with restoring(data_dir, await read_dump(dump)):
            restored.set()
            await asyncio.Event().wait()

    restoring_it = asyncio.create_task(restore_and_wait())
    await restored.wait()

    restoring_it.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring_it

    assert (look.servers_on(data_dir), look.names_in(data_dir)) == ([], ["service.lock"])
