from __future__ import annotations

from typing import Any

import pytest

from task_store import SCHEMA_REVISION, DatabaseFacts


def warnings(revision: str = SCHEMA_REVISION, connections: int = 6, **given: Any) -> list[str]:
    usual = {
        "version": "18.1",
        "version_num": 180_001,
        "max_connections": 100,
        "fsync": "on",
        "synchronous_commit": "on",
    }
    return DatabaseFacts(**{**usual, **given}).startup_warnings(revision, connections)


@pytest.mark.parametrize("version_num", [150_000, 170_005, 180_001])
def test_a_sound_server_gives_no_warning(version_num: int) -> None:
    assert warnings(version_num=version_num) == []


@pytest.mark.parametrize("level", ["on", "local", "remote_write"])
def test_commits_that_reach_the_disk_are_durable(level: str) -> None:
    assert warnings(synchronous_commit=level) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fsync": "off"}, "fsync or synchronous_commit is off"),
        ({"synchronous_commit": "off"}, "fsync or synchronous_commit is off"),
        ({"max_connections": 7}, "may open 6 of the database's 7 connections"),
        ({"connections": 81}, "may open 81 of the database's 100 connections"),
        ({"version_num": 140_011}, "PostgreSQL 14 is not among the versions that were tested (15 to 18)"),
        ({"version_num": 190_000}, "PostgreSQL 19 is not among"),
        ({"revision": "9999"}, "the schema (9999) is newer than this version knows"),
    ],
)
def test_a_server_that_needs_a_look_is_warned_of(given: dict[str, Any], words: str) -> None:
    (line,) = warnings(**given)

    assert words in line
