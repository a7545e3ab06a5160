"""Statements on a healthy server: facts about it, and what errors contain and do not contain."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from task_contracts import Priority
from task_store import Database, NewTask, SchemaMismatchError, StoreError, Tasks, UnstorableValuesError
from task_store._statements.statement import Statement
from task_store.testing import PostgresServer


def sql(statement: str) -> Statement:
    return Statement(text(statement))


async def test_facts_describe_the_server(database: Database, table: Any) -> None:
    facts = await database.facts()

    assert facts.version == await table.connection.fetchval("SHOW server_version")
    assert str(facts.major) == facts.version.split(".")[0].split(" ")[0]
    assert facts.max_connections == int(await table.connection.fetchval("SHOW max_connections"))


async def test_facts_tell_whether_commits_are_durable(postgres_server: PostgresServer, database: Database) -> None:
    facts = await database.facts()
    role_off = "SELECT set_config('synchronous_commit', 'off', false)"
    async with Database(postgres_server.url(), pool_size=1) as careless:
        await careless.fetch(sql(role_off))
        lax = await careless.facts()

    assert facts.is_durable is (facts.fsync == "on")
    assert not lax.is_durable


async def test_revision_is_none_until_a_migration_has_run(database: Database, table: Any) -> None:
    before = await database.revision()
    await table.connection.execute("CREATE TABLE alembic_version (version_num text)")
    try:
        empty = await database.revision()
        await table.connection.execute("INSERT INTO alembic_version VALUES ('0007')")
        after = await database.revision()
    finally:
        await table.connection.execute("DROP TABLE alembic_version")

    assert (before, empty, after) == (None, None, "0007")


async def test_a_schema_is_waited_for_only_where_it_is_needed_and_not_for_ever(
    database: Database, table: Any, caplog: pytest.LogCaptureFixture
) -> None:
    without = await database.wait_for_revision(20)
    gave_up = await database.wait_for_revision(0.5, needs_schema=True)
    waiting = asyncio.create_task(database.wait_for_revision(20, needs_schema=True))
    await table.connection.execute("CREATE TABLE alembic_version AS SELECT '0007' AS version_num")
    try:
        found = await waiting
    finally:
        await table.connection.execute("DROP TABLE alembic_version")

    assert (without, gave_up, found) == (None, None, "0007")
    assert {record.getMessage() for record in caplog.records if record.name == "task_store.database"} == {
        "waiting_for_schema"
    }


async def test_missing_table_is_a_schema_that_does_not_fit(database_url: str, new_task: Callable[..., NewTask]) -> None:
    async with Database(database_url) as empty:
        await empty.fetch(sql("DROP TABLE tasks CASCADE"))
        with pytest.raises(SchemaMismatchError, match="task-migrate"):
            await Tasks(empty).create(new_task())


async def test_operator_sees_whose_connection_it_is(postgres_server: PostgresServer) -> None:
    async with Database(postgres_server.url(), application_name="task-worker poll") as database:
        (row,) = await database.fetch(sql("SELECT current_setting('application_name') AS name"))

    assert row["name"] == "task-worker poll"


async def test_each_call_is_a_transaction_of_its_own(database: Database) -> None:
    query = sql("SELECT pg_current_xact_id()::text AS number, pg_backend_pid() AS pid")

    async with Database(database.url, pool_size=1) as alone:  # else the two may have a connection each
        first, second = (await alone.fetch(query))[0], (await alone.fetch(query))[0]

    assert first["number"] != second["number"]
    assert first["pid"] == second["pid"]


async def test_refused_statement_leaves_its_connection_usable(postgres_server: PostgresServer) -> None:
    async with Database(postgres_server.url(), pool_size=1) as database:
        for _ in range(3):
            with pytest.raises(UnstorableValuesError):
                await database.fetch(sql("SELECT 1 / 0"))
            await database.fetch(sql("SELECT 1"))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / 0",
        "SELECT 'nonsense'::uuid",
        "SELECT repeat('x', 10000)::varchar(3)::int",
        "SELECT '\"\\u0000\"'::jsonb",
    ],
)
async def test_values_that_cannot_be_stored_are_rejected(statement: str, database: Database) -> None:
    with pytest.raises(UnstorableValuesError) as caught:
        await database.fetch(sql(statement))

    assert caught.value.sqlstate[:2] == "22"


async def test_error_names_the_constraint_and_shows_neither_row_nor_parameters_nor_address(
    database: Database, new_task: Callable[..., NewTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = new_task(name="secret-name", payload={"secret": "secret-payload"})
    object.__setattr__(new.asked, "priority", "secret-priority")

    with pytest.raises(UnstorableValuesError) as caught:
        await Tasks(database).create(new)

    error = caught.value
    assert error.constraint == "ck_tasks_priority"
    assert error.sqlstate == "23514"
    assert str(error) == "the database refuses the values (CheckViolationError)"
    sqlalchemy_text = str(error.__cause__).partition("DETAIL")[0]
    parameters = str(error.__cause__).partition("[SQL:")[2]
    assert "secret" not in repr(error) + sqlalchemy_text + parameters
    assert f":{urlsplit(database.url).password}@" not in "".join(traceback.format_exception(error))


async def test_value_that_the_driver_cannot_encode_is_rejected_and_fails_alone(
    database: Database, new_task: Callable[..., NewTask]
) -> None:
    """The driver refuses it before it reaches the server."""
    tasks, bad = Tasks(database), new_task()
    object.__setattr__(bad.asked, "max_attempts", 2**40)
    surrogate = new_task()
    object.__setattr__(surrogate.asked, "name", "\ud800")

    good, *refused = await asyncio.gather(
        tasks.create(new_task(priority=Priority.LOW)),
        tasks.create(bad),
        tasks.create(surrogate),
        return_exceptions=True,
    )

    assert good.priority is Priority.LOW
    assert [type(error) for error in refused] == [UnstorableValuesError, UnstorableValuesError]


async def test_error_of_another_kind_is_a_store_error_with_its_code(database: Database) -> None:
    with pytest.raises(StoreError) as caught:
        await database.fetch(sql("SELECT no_such_function()"))

    assert type(caught.value) is StoreError
    assert caught.value.sqlstate == "42883"
