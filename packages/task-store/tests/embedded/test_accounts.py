from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from task_store.embedded import (
    EmbeddedPostgres,
    NoServerAccountError,
    UnusableDataDirError,
    find_binaries,
    open_existing,
    read_dump,
    restoring,
)

pytestmark = pytest.mark.private_servers

StartService = Callable[..., subprocess.Popen[str]]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is tested by root")
nobody = pwd.getpwnam("nobody")


def has_namespaces() -> bool:
    return subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


def make(folder: Path) -> None:
    folder.mkdir()


def give_to_nobody(folder: Path) -> None:
    make(folder)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def as_nobody() -> list[str]:
    # The interpreter of these tests may stand where only root can read; nothing else is let through by this.
    read = "-all,+dac_read_search"
    return [
        *("env", "-u", "COVERAGE_PROCESS_START", "-u", "COVERAGE_PROCESS_CONFIG"),  # whose files he cannot write
        *("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={read}", f"--ambient-caps={read}", f"--bounding-set={read}"),
        "--securebits=+no_setuid_fixup",  # else access(2), by which programs are found, takes no notice of it
    ]


@as_root
async def test_ordinary_user_runs_the_server_as_himself(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    give_to_nobody(data_dir)
    service = start_service(data_dir, *as_nobody(), HOME=str(data_dir))

    assert service.stdout.readline().startswith("postgresql://"), service.communicate()
    server = look.postmaster_of(data_dir)
    assert server.uids().effective == nobody.pw_uid
    assert (data_dir / "postgres").stat().st_uid == nobody.pw_uid
    assert service.communicate("\n", timeout=20) == ("", "")
    assert look.has_ended(server)


@as_root
@pytest.mark.skipif(not has_namespaces(), reason="no user namespaces here")
async def test_root_runs_the_server_in_a_namespace_on_files_of_its_own(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir):
        assert (data_dir / "postgres").stat().st_uid == 0


@as_root
async def test_root_without_namespaces_runs_the_server_as_nobody(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: SimpleNamespace
) -> None:
    setpriv = shutil.which("setpriv")
    (tmp_path / "setpriv").symlink_to(setpriv)
    monkeypatch.setenv("PATH", str(tmp_path))
    data_dir.parent.chmod(0o700)  # like root's home: nobody may not pass

    async with EmbeddedPostgres(data_dir):
        server = look.postmaster_of(data_dir)
        assert server.uids().effective == nobody.pw_uid
        assert (data_dir / "socket").stat().st_uid == 0
    monkeypatch.undo()
    async with EmbeddedPostgres(data_dir):  # with namespaces again: whose files they are decides
        assert look.postmaster_of(data_dir).uids().effective == nobody.pw_uid


@as_root
async def test_root_without_namespaces_runs_programs_in_a_folder_of_its_own(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: SimpleNamespace
) -> None:
    (tmp_path / "setpriv").symlink_to(shutil.which("setpriv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    private = tmp_path / "private"  # like a clone below root's home
    private.mkdir(mode=0o700)
    (private / "bin").symlink_to(find_binaries().folder)

    async with EmbeddedPostgres(data_dir, binaries=private / "bin"):
        assert look.postmaster_of(data_dir).uids().effective == nobody.pw_uid


@as_root
async def test_root_without_namespaces_restores_what_it_dumped(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "setpriv").symlink_to(shutil.which("setpriv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    data_dir.parent.chmod(0o700)
    async with EmbeddedPostgres(data_dir):
        pass

    async with open_existing(data_dir) as existing:
        await existing.dump(data_dir.with_name("dump"))
    async with restoring(data_dir, await read_dump(data_dir.with_name("dump")), replace=True):
        pass

    assert (data_dir / "postgres").stat().st_uid == nobody.pw_uid
    async with EmbeddedPostgres(data_dir) as postgres:
        assert postgres.url


@as_root
async def test_root_that_can_become_nobody_else_is_told_so(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NoServerAccountError, match="as an ordinary user"):
        await EmbeddedPostgres(data_dir).start()


@as_root
async def test_root_does_not_take_over_the_files_of_an_ordinary_user(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir):
        pass
    os.chown(data_dir / "postgres", 4711, 4711)

    with pytest.raises(NoServerAccountError, match="belong to user 4711"):
        await EmbeddedPostgres(data_dir).start()


@as_root
async def test_ordinary_user_is_refused_the_folder_of_root(data_dir: Path, start_service: StartService) -> None:
    async with EmbeddedPostgres(data_dir):
        pass
    service = start_service(data_dir, *as_nobody())

    _, errors = service.communicate(timeout=20)

    assert f"the data folder {data_dir} cannot be used: {data_dir} belongs to user 0" in errors.splitlines()[-1]


@as_root
async def test_root_does_not_use_the_folder_of_an_ordinary_user(data_dir: Path, look: SimpleNamespace) -> None:
    give_to_nobody(data_dir)

    with pytest.raises(UnusableDataDirError, match=f"belongs to user {nobody.pw_uid}, and this is user 0"):
        await EmbeddedPostgres(data_dir).start()

    assert look.names_in(data_dir) == []


@as_root
@pytest.mark.parametrize("name", ["socket", "postgres.log"])
async def test_what_somebody_else_has_put_into_the_folder_is_refused(
    data_dir: Path, name: str, look: SimpleNamespace
) -> None:
    make(data_dir)
    (data_dir / name).touch() if name == "postgres.log" else (data_dir / name).mkdir()
    os.chown(data_dir / name, nobody.pw_uid, nobody.pw_gid)

    with pytest.raises(UnusableDataDirError, match=rf"{name} belongs to user {nobody.pw_uid}"):
        await EmbeddedPostgres(data_dir).start()

    assert look.servers_on(data_dir) == []


@as_root
async def test_link_of_somebody_else_to_a_socket_folder_is_refused(data_dir: Path, tmp_path: Path) -> None:
    make(data_dir)
    (data_dir / "socket").symlink_to(tmp_path)  # which is private to this user
    os.chown(data_dir / "socket", nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)

    with pytest.raises(UnusableDataDirError, match=rf"socket belongs to user {nobody.pw_uid}"):
        await EmbeddedPostgres(data_dir).start()
