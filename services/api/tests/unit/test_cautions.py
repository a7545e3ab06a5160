from __future__ import annotations

from typing import Any

import pytest

from task_api.cautions import cautions
from task_api.settings import ApiSettings
from task_store import SCHEMA_REVISION, DatabaseFacts


def found(revision: str = SCHEMA_REVISION, facts: dict[str, Any] | None = None, **given: Any) -> list[str]:
    settings = ApiSettings(**{"database_url": "postgresql://h/t", "broker_url": "amqp://h/", **given})
    usual = {
        "version": "18.1",
        "version_num": 180_001,
        "database": "tasks",
        "max_connections": 100,
        "fsync": "on",
        "synchronous_commit": "on",
    }
    return cautions(settings, DatabaseFacts(**{**usual, **(facts or {})}), revision)


def test_a_sound_setup_gives_no_warning() -> None:
    assert found() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_an_open_api_is_warned_of(host: str) -> None:
    (line,) = found(host=host)

    assert "no authentication" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_not(host: str) -> None:
    assert found(host=host) == []


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"fsync": "off"}, "fsync"),
        ({"synchronous_commit": "off"}, "synchronous_commit"),
        ({"max_connections": 5}, "max_connections"),
        ({"version_num": 130_011}, "PostgreSQL 13"),
    ],
)
def test_a_server_that_needs_a_look_is_warned_of(facts: dict[str, Any], word: str) -> None:
    (line,) = found(facts=facts)

    assert word in line


def test_a_newer_schema_is_warned_of() -> None:
    (line,) = found(revision="9999")

    assert "newer" in line


@pytest.mark.parametrize(
    ("name", "url"),
    [("database_url", "postgresql://tasks:tasks@db/tasks"), ("broker_url", "amqp://guest:guest@broker:5672/")],
)
def test_a_shipped_password_that_others_can_use_is_warned_of_and_not_repeated(name: str, url: str) -> None:
    (line,) = found(**{name: url})

    assert name.upper() in line
    assert url not in line


def test_a_shipped_password_on_loopback_is_fine() -> None:
    assert found(database_url="postgresql://tasks:tasks@127.0.0.1/t", broker_url="amqp://guest:guest@localhost/") == []


def test_a_misspelt_setting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_API_PROT", "1")

    (line,) = found()

    assert "TASK_API_PORT" in line
