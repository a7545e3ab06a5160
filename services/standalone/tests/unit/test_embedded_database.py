from __future__ import annotations

from pathlib import Path

import pytest

from task_service.embedded_database import _how_to_move
from task_store.embedded import WrongMajorVersionError, find_binaries


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that PostgreSQL 12 has written, which is not on this machine."""
    folder = tmp_path / "my data"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("12\n")
    return folder


def test_data_of_an_older_postgresql_comes_with_the_commands_that_move_it(data_dir: Path) -> None:
    text = _how_to_move(data_dir, WrongMajorVersionError(data_dir, found=12, needed=18))

    assert f"`task-service backup --data-dir '{data_dir}' FILE`" in text
    assert f"`task-service restore --data-dir '{data_dir}' --replace FILE`" in text
    assert "by the installation that wrote the data, or once PostgreSQL 12 is installed" in text


def test_where_the_older_postgresql_is_here_it_is_named(data_dir: Path) -> None:
    here = find_binaries()
    (data_dir / "postgres" / "PG_VERSION").write_text(f"{here.major}\n")

    text = _how_to_move(data_dir, WrongMajorVersionError(data_dir, found=here.major, needed=here.major + 1))

    assert f"the programs of {here.major} are in {here.folder}" in text


def test_no_command_is_promised_that_leads_to_an_older_postgresql(data_dir: Path) -> None:
    assert _how_to_move(data_dir, WrongMajorVersionError(data_dir, found=18, needed=15)) == ""
