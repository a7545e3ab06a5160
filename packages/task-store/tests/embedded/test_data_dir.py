from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from task_store.embedded import (
    DataDirInUseError,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    ServerDidNotStartError,
    UnusableDataDirError,
    WrongMajorVersionError,
    all_binaries,
)
from task_store.embedded._server_log import LOG_BYTES

pytestmark = pytest.mark.private_servers

StartService = Callable[..., subprocess.Popen[str]]


async def test_second_service_is_refused_and_told_the_process(data_dir: Path, start_service: StartService) -> None:
    service = start_service(data_dir)
    service.stdout.readline()

    with pytest.raises(DataDirInUseError, match=f"process {service.pid}") as caught:
        await EmbeddedPostgres(data_dir).start()

    assert caught.value.pid == service.pid


async def test_second_start_in_the_same_process_changes_nothing(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    with pytest.raises(DataDirInUseError) as caught:
        await EmbeddedPostgres(data_dir).start()
    with pytest.raises(DataDirInUseError):
        await postgres.start()

    assert caught.value.pid == os.getpid()


async def test_data_of_another_major_version_is_refused_untouched(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir):
        pass
    version = data_dir / "postgres" / "PG_VERSION"
    version.write_text("12\n")

    with pytest.raises(WrongMajorVersionError, match=r"PostgreSQL 12\b.* the programs of 12,") as caught:
        await EmbeddedPostgres(data_dir).start()

    assert (caught.value.found, caught.value.needed) == (12, all_binaries()[0].major)
    assert version.read_text() == "12\n"


@pytest.mark.skipif(len(all_binaries()) < 2, reason="one major version of PostgreSQL on this machine")
async def test_data_of_an_installed_older_version_is_refused_and_still_serves_its_own(data_dir: Path) -> None:
    newer, older, *_ = all_binaries()
    async with EmbeddedPostgres(data_dir, binaries=older.folder):
        pass

    with pytest.raises(WrongMajorVersionError) as caught:
        await EmbeddedPostgres(data_dir, binaries=newer.folder).start()

    assert (caught.value.found, caught.value.needed) == (older.major, newer.major)
    async with EmbeddedPostgres(data_dir, binaries=older.folder):
        pass


@pytest.mark.parametrize("stranger", ["holiday.jpg", "postgres"])
async def test_folder_that_holds_something_else_is_refused_untouched(
    data_dir: Path, stranger: str, look: SimpleNamespace
) -> None:
    (data_dir / stranger).mkdir(parents=True)

    with pytest.raises(UnusableDataDirError, match=f"not ours .*{stranger}"):
        await EmbeddedPostgres(data_dir).start()

    assert look.names_in(data_dir) == sorted([stranger, "service.lock"])


async def test_mount_point_of_a_fresh_disk_is_taken_as_empty(data_dir: Path) -> None:
    (data_dir / "lost+found").mkdir(parents=True)

    async with EmbeddedPostgres(data_dir) as postgres:
        assert postgres.url


async def test_file_in_place_of_the_folder_is_refused(data_dir: Path) -> None:
    shutil.copy("/dev/null", data_dir)

    with pytest.raises(UnusableDataDirError, match="cannot be used"):
        await EmbeddedPostgres(data_dir).start()


async def test_unreadable_version_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("")

    with pytest.raises(UnusableDataDirError, match="PG_VERSION"):
        await EmbeddedPostgres(data_dir).start()


async def test_start_killed_in_the_middle_of_initdb_does_not_strand_the_next(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    await look.eventually(lambda: initdb_is_under_way(data_dir))

    service.kill()  # its initdb goes on, into a folder that nobody will look at
    service.wait()
    async with EmbeddedPostgres(data_dir) as postgres:
        assert postgres.url

    assert (data_dir / "postgres" / "PG_VERSION").exists()


async def test_rubbish_of_killed_starts_is_removed(data_dir: Path, look: SimpleNamespace) -> None:
    (data_dir / "postgres.unfinished-abc" / "base").mkdir(parents=True)

    async with EmbeddedPostgres(data_dir):
        pass

    assert not [name for name in look.names_in(data_dir) if "unfinished" in name]


async def test_initdb_that_fails_says_why_and_leaves_nothing(
    data_dir: Path, tmp_path: Path, look: SimpleNamespace
) -> None:
    real = all_binaries()[0]
    (tmp_path / "postgres").symlink_to(real.folder / "postgres")
    (tmp_path / "initdb").write_text("#!/bin/sh\necho no space on the moon >&2\nexit 1\n")
    (tmp_path / "initdb").chmod(0o755)

    with pytest.raises(ServerDidNotStartError, match="no space on the moon"):
        await EmbeddedPostgres(data_dir, binaries=tmp_path).start()

    assert look.names_in(data_dir) == ["service.lock"]


@pytest.mark.parametrize("name", ["postgres.log", "postgres.log.old"])
async def test_log_is_not_written_through_a_link(data_dir: Path, tmp_path: Path, name: str) -> None:
    make(data_dir)
    (tmp_path / "precious").write_text("kept")
    if name == "postgres.log.old":
        (data_dir / "postgres.log").write_bytes(b"x" * (LOG_BYTES + 1))
    (data_dir / name).symlink_to(tmp_path / "precious")

    with suppress(UnusableDataDirError):
        async with EmbeddedPostgres(data_dir):
            pass

    assert (tmp_path / "precious").read_text() == "kept"


async def test_log_that_is_a_link_is_refused(data_dir: Path, tmp_path: Path) -> None:
    make(data_dir)
    (data_dir / "postgres.log").symlink_to(tmp_path / "elsewhere.log")

    with pytest.raises(UnusableDataDirError, match=r"postgres\.log is a link"):
        await EmbeddedPostgres(data_dir).start()

    assert not (tmp_path / "elsewhere.log").exists()


def test_every_error_is_one_line_and_of_one_family(data_dir: Path) -> None:
    errors = [
        DataDirInUseError(data_dir, None),
        WrongMajorVersionError(data_dir, found=15, needed=18),
        WrongMajorVersionError(data_dir, found=18, needed=15),
        ServerDidNotStartError("postgres", ()),
        ServerDidNotStartError("postgres", ("a", "b")),
    ]

    assert all(isinstance(error, EmbeddedPostgresError) for error in errors)
    assert all("\n" not in str(error) for error in errors)


def initdb_is_under_way(data_dir: Path) -> bool:
    return any(data_dir.glob("postgres.unfinished-*/PG_VERSION"))


def make(folder: Path) -> None:
    folder.mkdir()
