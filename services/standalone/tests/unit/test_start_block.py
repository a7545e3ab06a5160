from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from task_service.options import Options, Settings
from task_service.start_block import StartBlock
from task_store import SCHEMA_REVISION, DatabaseFacts

FACTS = DatabaseFacts("18.6", 180006, 100, "on", "on")
EMBEDDED = "postgresql://task@/tasks?host=/data/socket&port=5432"


def _block(*, database_url: str | None = None, is_reloading: bool = False) -> StartBlock:
    options = Options(None, None, Path("/data"), None, is_reloading=is_reloading)
    settings = Settings.read(options, database_url)
    return StartBlock(options, settings, "http://127.0.0.1:9000", {}, FACTS, SCHEMA_REVISION)


def test_the_block_says_where_the_api_listens_and_what_the_service_uses() -> None:
    rows = dict(_block(database_url=EMBEDDED).rows())

    assert rows["API"] == "http://127.0.0.1:9000/api/v1/tasks"
    assert rows["docs"] == "http://127.0.0.1:9000/docs"
    assert rows["database"] == "/data"
    assert rows["PostgreSQL"] == "18.6, embedded"
    assert rows["broker"] == "in this process"


def test_the_embedded_database_comes_with_the_command_that_opens_it_in_psql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    assert dict(_block(database_url=EMBEDDED).rows())["psql"] == f"psql '{EMBEDDED}'"


def test_without_psql_on_the_path_the_command_names_the_one_of_the_embedded_postgresql(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name: None if name == "psql" else real_which(name))

    command = dict(_block(database_url=EMBEDDED).rows())["psql"]

    assert Path(command.split(" ")[0]).is_file()
    assert command.endswith(f"/psql '{EMBEDDED}'")


def test_a_database_of_the_users_own_is_shown_by_its_address_and_without_psql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_DATABASE_URL", "postgresql://me@db/tasks")

    rows = dict(_block().rows())

    assert "psql" not in rows
    assert rows["database"] == "postgresql://me@db/tasks"
    assert rows["PostgreSQL"] == "18.6, yours"


def test_a_broker_of_the_users_own_is_shown_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_BROKER_URL", "amqp://me@mq/")

    assert dict(_block(database_url=EMBEDDED).rows())["broker"] == "amqp://me@mq/"


def test_handlers_that_are_reloaded_are_shown_as_such() -> None:
    assert dict(_block(database_url=EMBEDDED, is_reloading=True).rows())["handlers"].endswith("reloaded when changed")


def test_what_api_and_worker_both_warn_of_is_said_once() -> None:
    block = replace(_block(database_url=EMBEDDED), facts=replace(FACTS, fsync="off"))

    warnings = block.warnings()

    assert len([text for text in warnings if text.startswith("fsync")]) == 1


def test_several_processes_are_said_to_be_no_setting_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _block().warnings()
    monkeypatch.setenv("TASK_WORKER_PROCESSES", "2")

    (warning,) = [text for text in _block().warnings() if text not in before]

    assert warning.startswith("TASK_WORKER_PROCESSES does nothing in task-service: ")


@pytest.mark.parametrize("variable", ["TASK_WORKER_MAX_TASKS", "TASK_WORKER_MAX_MEMORY_MB"])
def test_limits_of_recycling_are_said_to_do_nothing_here(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    before = _block().warnings()
    monkeypatch.setenv(variable, "100")

    (warning,) = [text for text in _block().warnings() if text not in before]

    assert warning.startswith("TASK_WORKER_MAX_TASKS and TASK_WORKER_MAX_MEMORY_MB do nothing in task-service: ")
