"""The command `task-migrate`: its one line of output and its exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from task_migrations import head
from task_migrations.__main__ import _app

Run = Callable[..., Awaitable[Any]]


async def invoke(*arguments: str, url: str | None = None) -> Any:
    """Run the command in this process, on a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, _app, arguments, env={"TASK_DATABASE_URL": url})


async def test_migrated_database_is_exit_code_0_and_one_line(database_url: str, connection: asyncpg.Connection) -> None:
    first = await invoke(url=database_url)
    again = await invoke("--database-url", database_url, "--revision", head())

    for outcome in (first, again):
        assert (outcome.exit_code, outcome.output) == (0, f"the schema is at revision {head()}\n")
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == head()


async def test_wrong_url_is_exit_code_2_and_one_line_without_the_password(run: Run) -> None:
    outcome = await run("-m", "task_migrations", database_url="mysql://root:hunter2@db/tasks")

    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith("TASK_DATABASE_URL: names the database driver 'mysql'")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("arguments", "url", "code", "says"),
    [
        ([], "hunter2", 2, "TASK_DATABASE_URL: is not a database URL"),
        (
            [],
            "postgresql://task:hunt@hunter2@db/tasks",
            2,
            "TASK_DATABASE_URL: host db, port 5432, database tasks, user task: a special character is not escaped",
        ),
        (
            [],
            "postgresql://task:hunter2@no-such-host.invalid/tasks",
            2,
            "TASK_DATABASE_URL: host no-such-host.invalid, port 5432, database tasks, user task: there is no host",
        ),
        (
            ["--wait-seconds", "0.1"],
            "postgresql://task:hunter2@127.0.0.1:1/tasks",
            1,
            "the migration did not take place: the database does not answer (ConnectionRefusedError)",
        ),
    ],
    ids=["no url", "not escaped", "no such host", "away"],
)
async def test_what_is_wrong_is_said_in_one_line(arguments: list[str], url: str, code: int, says: str) -> None:
    outcome = await invoke(*arguments, url=url)

    assert (outcome.exit_code, outcome.stdout) == (code, "")
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(says)
    assert "hunter2" not in line


async def test_unknown_revision_is_exit_code_2_and_one_line(database_url: str) -> None:
    outcome = await invoke("--revision", "nonsense", url=database_url)

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("--revision nonsense: ")


async def test_schema_of_before_the_first_release_is_exit_code_2_and_one_line(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("CREATE TABLE alembic_version AS SELECT '0000' AS version_num")

    outcome = await invoke(url=database_url)

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("the database holds the schema 0000 of a version before the first release")


async def test_missing_url_is_exit_code_2_and_named() -> None:
    outcome = await invoke()

    assert outcome.exit_code == 2
    assert "TASK_DATABASE_URL" in outcome.stderr


async def test_where_no_url_is_given_the_secret_of_that_name_is_read(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("task_migrations.__main__._SECRET", tmp_path / "TASK_DATABASE_URL")
    (tmp_path / "TASK_DATABASE_URL").write_text(f"{database_url}\n")

    assert (await invoke()).exit_code == 0
