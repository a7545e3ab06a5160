from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from task_worker.lease.alive_file import AliveFile


@pytest.fixture
def alive(tmp_path: Path) -> AliveFile:
    return AliveFile(tmp_path / "alive", lease_seconds=30)


def test_a_worker_that_has_just_touched_its_file_lives(alive: AliveFile) -> None:
    alive.touch()

    assert alive.probe() == (True, "alive")


def test_one_that_has_been_silent_for_over_a_third_of_a_lease_does_not(alive: AliveFile) -> None:
    alive.touch()
    assert alive.path is not None
    os.utime(alive.path, (time.time() - 11,) * 2)

    assert alive.probe() == (False, "silent for 11 s")


def test_a_touch_of_the_future_proves_nothing_after_the_clock_was_set_back(alive: AliveFile) -> None:
    alive.touch()
    assert alive.path is not None
    os.utime(alive.path, (time.time() + 3600,) * 2)

    assert alive.probe()[0] is False


@pytest.mark.parametrize(("lease_seconds", "text"), [(30, "10\n"), (1, "0.333333\n"), (3600, "1200\n")])
def test_the_file_says_for_how_long_a_touch_counts(tmp_path: Path, lease_seconds: float, text: str) -> None:
    AliveFile(tmp_path / "alive", lease_seconds).begin()

    assert (tmp_path / "alive").read_text() == text


def test_a_file_that_somebody_has_removed_is_written_again(alive: AliveFile) -> None:
    alive.begin()
    assert alive.path is not None
    alive.path.unlink()

    alive.touch()

    assert (alive.probe()[0], alive.path.read_text()) == (True, "10\n")


def test_one_that_has_not_started_does_not_and_is_asked_after(alive: AliveFile) -> None:
    is_alive, line = alive.probe()

    assert not is_alive
    assert line == f"{alive.path}: No such file or directory; has the worker started?"


def test_where_no_file_is_named_nothing_is_touched_and_the_check_says_what_to_set() -> None:
    nowhere = AliveFile(None, lease_seconds=30)
    nowhere.begin()
    nowhere.touch()

    assert nowhere.probe()[0] is False
    assert nowhere.probe()[1].startswith("TASK_WORKER_ALIVE_FILE is not set")


def test_a_file_that_cannot_be_written_is_a_mistake_at_the_start_alone(tmp_path: Path) -> None:
    lost = AliveFile(tmp_path / "none" / "alive", lease_seconds=30)

    lost.touch()

    with pytest.raises(FileNotFoundError):
        lost.begin()
