"""The SQL function create_task(): who may call it, and that nothing of a caller's changes what it does.

What it takes and stores is compared with the API's POST in services/api/tests/integration/test_create_task.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from task_migrations import upgrade

CREATE = """SELECT create_task('{"name": "a task", "type": "echo"}')"""


@pytest.fixture
async def migrated(database_url: str, connection: asyncpg.Connection) -> str:
    await upgrade(database_url)
    await connection.execute("INSERT INTO queues VALUES ('default', NULL)")
    return database_url


@pytest.fixture
async def caller(migrated: str, connection: asyncpg.Connection) -> AsyncIterator[str]:
    """A role that may do nothing but connect."""
    role = f"caller_{uuid4().hex}"
    await connection.execute(f"CREATE ROLE {role}")
    yield role
    await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_without_the_right_may_not_call_it(caller: str, connection: asyncpg.Connection) -> None:
    await connection.execute(f"SET ROLE {caller}")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="function create_task"):
        await connection.fetchval(CREATE)


async def test_the_right_to_call_it_creates_tasks_and_gives_no_other(
    caller: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(f"GRANT EXECUTE ON FUNCTION create_task(json) TO {caller}; SET ROLE {caller}")
    task_id = await connection.fetchval(CREATE)

    for forbidden in ("SELECT FROM tasks", "SELECT FROM queues", "DELETE FROM tasks"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(forbidden)
    await connection.execute("RESET ROLE")
    assert [tuple(row) for row in await connection.fetch("SELECT id, status FROM tasks")] == [(task_id, "NEW")]


async def test_what_is_created_is_left_to_be_counted_and_what_is_rolled_back_is_not(
    migrated: str, connection: asyncpg.Connection
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetchval(CREATE)
    await transaction.rollback()
    task_id = await connection.fetchval(CREATE)

    rows = await connection.fetch("SELECT task_id, queue, priority, type FROM uncounted_tasks")
    stored = await connection.fetch("SELECT id, queue, priority, type FROM tasks")
    assert [tuple(row) for row in rows] == [tuple(row) for row in stored]
    assert [row["task_id"] for row in rows] == [task_id]


async def test_what_a_caller_names_alike_is_not_used(caller: str, connection: asyncpg.Connection) -> None:
    await connection.execute(f"""
        GRANT EXECUTE ON FUNCTION create_task(json) TO {caller};
        CREATE SCHEMA trap AUTHORIZATION {caller};
        SET ROLE {caller};
        CREATE FUNCTION trap.octet_length(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
        CREATE FUNCTION trap.same(text, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
        CREATE OPERATOR trap.= (FUNCTION = trap.same, LEFTARG = text, RIGHTARG = text);
        CREATE TEMP TABLE tasks (id uuid);
        CREATE TEMP TABLE queues (name text, default_type text);
        INSERT INTO queues VALUES ('trap', 'echo');
        SET search_path = trap, pg_temp, pg_catalog, public;
    """)

    task_id = await connection.fetchval(CREATE.replace("create_task", "public.create_task"))
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="there are: default\n"):
        await connection.fetchval("""SELECT public.create_task('{"name": "a", "type": "echo", "queue": "trap"}')""")

    await connection.execute("RESET ROLE; RESET search_path")
    assert await connection.fetchval("SELECT count(*) FROM public.tasks WHERE id = $1", task_id) == 1


async def test_settings_of_a_caller_change_nothing(migrated: str, connection: asyncpg.Connection) -> None:
    await connection.execute("""
        SET standard_conforming_strings = off; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard';
        SET TimeZone = 'America/New_York'; SET bytea_output = 'escape'; SET lc_messages = 'C';
    """)

    task = """{"name": "a", "type": "a/b.c", "run_at": "2026-03-04T05:06:07.891-05:30"}"""
    await connection.execute(f"SELECT create_task('{task}')")
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^type: "):
        await connection.execute("""SELECT create_task('{"name": "a", "type": "a,b"}')""")

    (row,) = await connection.fetch("SELECT type, run_at AT TIME ZONE 'UTC' AS run_at FROM tasks")
    assert (row["type"], row["run_at"].isoformat()) == ("a/b.c", "2026-03-04T10:36:07.891000")


async def test_it_stands_in_the_schema_of_the_tables_whatever_that_is_called(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute('CREATE SCHEMA "The tasks"')
    await upgrade(database_url + "?options=-csearch_path%3D%22The%5C%20tasks%22")
    await connection.execute("""INSERT INTO "The tasks".queues VALUES ('default', NULL)""")

    await connection.execute(CREATE.replace("create_task", '"The tasks".create_task'))

    assert await connection.fetchval('SELECT count(*) FROM "The tasks".tasks') == 1
    assert await connection.fetchval("SELECT to_regclass('public.tasks')") is None


async def test_ids_are_of_version_7_and_grow_with_time(migrated: str, connection: asyncpg.Connection) -> None:
    ids = []
    for _ in range(3):
        ids.append(await connection.fetchval(CREATE))
        await connection.execute("SELECT pg_sleep(0.002)")  # the next millisecond, by which the ids sort
    created = [row["created_at"] for row in await connection.fetch("SELECT created_at FROM tasks ORDER BY id")]

    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert ids == sorted(ids)
    assert created == sorted(created)
    assert abs((ids[0].int >> 80) / 1000 - created[0].timestamp()) < 5
