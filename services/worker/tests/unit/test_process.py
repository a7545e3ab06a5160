from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from task_runtime import Misconfigured
from task_store import SCHEMA_REVISION, DatabaseFacts
from task_worker import handler
from task_worker.handlers import Handler
from task_worker.loader import load_handlers
from task_worker.process import handlers_or_misconfigured, http_rows, run_worker, worker_startup_warnings
from task_worker.settings import WorkerSettings

HandlersOf = Callable[..., dict[str, Handler]]


@handler("quick", timeout_seconds=5)
async def quick() -> None: ...


@handler("slow", timeout_seconds=100)
async def slow() -> None: ...


@handler("open")
async def open_ended() -> None: ...


def facts(**fields: Any) -> DatabaseFacts:
    defaults = {
        "version": "18.1",
        "version_num": 180001,
        "max_connections": 100,
        "fsync": "on",
        "synchronous_commit": "on",
    }
    return DatabaseFacts(**{**defaults, **fields})


def settings(**fields: Any) -> WorkerSettings:
    return WorkerSettings(**{"database_url": "postgresql:///tasks", "broker_url": "amqp://mq", **fields})


def test_with_handlers_that_fit_the_drain_there_is_nothing_to_warn_of(handlers_of: HandlersOf) -> None:
    assert (
        worker_startup_warnings(settings(), {**load_handlers(None), **handlers_of(quick)}, facts(), SCHEMA_REVISION)
        == []
    )


def test_a_worker_with_only_built_in_types_gets_one_warning(handlers_of: HandlersOf) -> None:
    (warning,) = worker_startup_warnings(settings(), load_handlers(None), facts(), SCHEMA_REVISION)

    assert warning.startswith("no handlers beyond the built-in ones: set TASK_WORKER_HANDLERS")


def test_a_worker_that_may_call_hosts_has_work_without_handlers_of_its_own() -> None:
    allowed = settings(http_hosts="api.example.org")

    assert worker_startup_warnings(allowed, load_handlers(None, allowed.http_hosts), facts(), SCHEMA_REVISION) == []


def test_the_start_block_names_the_hosts_where_there_are_any() -> None:
    assert http_rows(settings(http_hosts="api.example.org,10.0.0.0/8")) == [
        ("HTTP hosts", "api.example.org,10.0.0.0/8")
    ]
    assert http_rows(settings()) == []


@pytest.mark.parametrize(
    ("function", "given", "longest"),
    [(slow, {}, "100"), (open_ended, {"drain_seconds": 30}, "600"), (open_ended, {"timeout_seconds": 600}, "600")],
)
def test_a_drain_shorter_than_a_handler_is_warned_of(
    handlers_of: HandlersOf, function: Callable[..., Any], given: dict[str, float], longest: str
) -> None:
    (warning,) = worker_startup_warnings(settings(**given), handlers_of(function), facts(), SCHEMA_REVISION)

    assert f"TASK_WORKER_DRAIN_SECONDS (30) is shorter than the longest timeout of a handler ({longest})" in warning


def test_the_defaults_are_not_warned_of(handlers_of: HandlersOf) -> None:
    assert worker_startup_warnings(settings(), handlers_of(open_ended), facts(), SCHEMA_REVISION) == []


@pytest.mark.parametrize(
    ("fields", "server", "word"),
    [
        ({"retention_days": 0}, {}, "TASK_WORKER_RETENTION_DAYS"),
        ({}, {"fsync": "off"}, "fsync"),
        ({}, {"max_connections": 10}, "may open 9 of the database's 10 connections"),
        ({"broker_url": "amqp://guest:guest@mq"}, {}, "TASK_BROKER_URL: the password is the shipped one"),
    ],
)
def test_what_an_operator_should_know_is_warned_of(
    handlers_of: HandlersOf, fields: dict[str, Any], server: dict[str, Any], word: str
) -> None:
    (warning,) = worker_startup_warnings(settings(**fields), handlers_of(quick), facts(**server), SCHEMA_REVISION)

    assert word in warning


def test_a_misspelt_setting_is_warned_of(handlers_of: HandlersOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_WORKER_CONCURENCY", "5")

    (warning,) = worker_startup_warnings(settings(), handlers_of(quick), facts(), SCHEMA_REVISION)

    assert "TASK_WORKER_CONCURRENCY" in warning


def test_handlers_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text("x = 1 / 0\n")

    with pytest.raises(Misconfigured) as caught:
        handlers_or_misconfigured(str(tmp_path / "jobs.py"))

    assert str(caught.value).startswith("TASK_WORKER_HANDLERS: ")
    assert "jobs.py, line 1: ZeroDivisionError" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_the_broker_of_one_process_is_refused() -> None:
    with pytest.raises(Misconfigured, match="TASK_BROKER_URL"):
        await run_worker(settings(broker_url="memory://"))
