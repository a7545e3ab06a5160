from __future__ import annotations

from typing import Any

import pytest

from task_api.settings import ApiSettings
from task_api.startup_warnings import api_startup_warnings
from task_store import SCHEMA_REVISION, DatabaseFacts


def found(revision: str = SCHEMA_REVISION, facts: dict[str, Any] | None = None, **given: Any) -> list[str]:
    settings = ApiSettings(**{"database_url": "postgresql://h/t", "broker_url": "amqp://h/", **given})
    usual = {
        "version": "18.1",
        "version_num": 180_001,
        "max_connections": 100,
        "fsync": "on",
        "synchronous_commit": "on",
    }
    return api_startup_warnings(settings, DatabaseFacts(**{**usual, **(facts or {})}), revision)


def test_a_sound_setup_gives_no_warning() -> None:
    assert found() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_an_open_api_is_warned_of(host: str) -> None:
    (line,) = found(host=host)

    assert "no authentication" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_not(host: str) -> None:
    assert found(host=host) == []


@pytest.mark.parametrize("auth", ["off", "keys"])
def test_what_was_written_is_taken_at_its_word(auth: str) -> None:
    assert found(host="0.0.0.0", auth=auth) == []  # nothing is bound


def test_an_empty_setting_is_none() -> None:
    (line,) = found(host="0.0.0.0", auth="")  # nothing is bound

    assert "TASK_API_AUTH" in line


def test_what_the_server_and_the_settings_are_warned_of_is_said_too() -> None:
    lines = found(database_url="postgresql://tasks:tasks@db/t", database_pool_size=80, facts={"fsync": "off"})

    assert [line.split(" ")[0] for line in lines] == ["fsync", "this", "TASK_DATABASE_URL:"]
    assert "may open 81 of the database's 100 connections" in lines[1]


def test_a_misspelt_setting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_API_PROT", "1")

    (line,) = found()

    assert "TASK_API_PORT" in line
