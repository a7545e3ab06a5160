from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from task_runtime import Misconfigured
from task_service import backup as module
from task_service.backup import STANDARD_OUTPUT, backup
from task_store.embedded import NoDatabaseError


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_folder_without_a_database_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoDatabaseError, match=r"nowhere holds no database"):
        await backup(tmp_path / "nowhere", tmp_path / "dump", overwrites=False)

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("overwrites", [False, True])
async def test_a_file_that_exists_survives_a_backup_that_does_not_take_place(tmp_path: Path, overwrites: bool) -> None:
    file = tmp_path / "dump"
    file.write_text("the last one")

    with pytest.raises((Misconfigured, NoDatabaseError)):
        await backup(tmp_path / "nowhere", file, overwrites=overwrites)

    assert file.read_text() == "the last one"
    assert names_in(tmp_path) == ["dump"]


async def test_a_file_is_overwritten_only_by_force(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.touch()

    with pytest.raises(Misconfigured, match=r"dump exists: .* --force"):
        await backup(tmp_path, file, overwrites=False)


@pytest.mark.parametrize("what", ["/dev/null", "."])
async def test_what_is_no_file_is_never_replaced(tmp_path: Path, what: str) -> None:
    with pytest.raises(Misconfigured, match="is no file"):
        await backup(tmp_path, Path(what), overwrites=True)


async def test_a_file_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be written: No such file"):
        await backup(tmp_path, tmp_path / "no" / "such" / "dump", overwrites=False)


async def test_a_dump_is_not_written_to_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    with pytest.raises(Misconfigured, match="nothing to read"):
        await backup(tmp_path, STANDARD_OUTPUT, overwrites=False)


def test_a_file_has_its_name_only_when_it_is_whole_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    with module._whole_file(file) as unfinished:
        unfinished.write_bytes(b"whole")
        assert not file.exists()

    assert file.read_bytes() == b"whole"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["dump"]


def test_what_a_link_leads_to_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "dump", tmp_path / "last"
    target.write_bytes(b"old")
    link.symlink_to(target)

    with module._output(link, overwrites=True) as unfinished:
        unfinished.write_bytes(b"new")

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_file_that_has_come_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "dump"

    def write_it_twice() -> None:
        with module._output(file, overwrites=False) as second:
            with module._output(file, overwrites=False) as first:
                first.write_bytes(b"first")
            second.write_bytes(b"second")

    with pytest.raises(Misconfigured, match="exists"):
        write_it_twice()

    assert file.read_bytes() == b"first"
    assert names_in(tmp_path) == ["dump"]


def test_half_a_file_is_removed(tmp_path: Path) -> None:
    def write_half() -> None:
        with module._whole_file(tmp_path / "dump") as unfinished:
            unfinished.write_bytes(b"hal")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_half()

    assert names_in(tmp_path) == []
