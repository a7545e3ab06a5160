from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from task_worker.lease.alive_file import AliveFile
from task_worker.processes.alive_files import AliveFiles


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [tmp_path / "alive.1", tmp_path / "alive.2"]


@pytest.fixture
def parent(tmp_path: Path) -> AliveFile:
    return AliveFile(tmp_path / "alive", lease_seconds=30)


@pytest.fixture
def alive(parent: AliveFile, paths: list[Path]) -> AliveFiles:
    alive = AliveFiles(parent, paths)
    alive.begin()
    return alive


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_all_count_as_alive_when_they_start(alive: AliveFiles, parent: AliveFile) -> None:
    alive.update()

    assert parent.probe() == (True, "alive")


def test_the_stalest_of_all_decides(alive: AliveFiles, parent: AliveFile, paths: list[Path]) -> None:
    age(paths[1], 11)

    alive.update()

    assert parent.probe() == (False, "silent for 11 s")


def test_one_that_was_asked_to_stop_and_has_ended_is_not_missed(
    alive: AliveFiles, parent: AliveFile, paths: list[Path]
) -> None:
    age(paths[1], 11)
    paths[1].unlink()

    alive.update()

    assert parent.probe() == (True, "alive")


def test_without_an_update_the_parent_counts_as_dead_whatever_its_processes_do(
    alive: AliveFiles, parent: AliveFile
) -> None:
    del alive
    assert parent.path is not None
    age(parent.path, 11)

    assert parent.probe()[0] is False


def test_a_file_that_somebody_has_removed_is_made_again(alive: AliveFiles, parent: AliveFile) -> None:
    assert parent.path is not None
    parent.path.unlink()

    alive.update()

    assert parent.probe() == (True, "alive")


def test_where_no_file_is_named_nothing_is_touched() -> None:
    nowhere = AliveFiles(AliveFile(None, lease_seconds=30), [])

    nowhere.begin()
    nowhere.update()


def test_a_file_that_cannot_be_written_is_a_mistake_at_the_start_alone(tmp_path: Path) -> None:
    lost = AliveFiles(AliveFile(tmp_path / "none" / "alive", lease_seconds=30), [tmp_path / "none" / "alive.1"])

    lost.update()

    with pytest.raises(FileNotFoundError):
        lost.begin()
