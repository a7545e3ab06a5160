"""deploy/postgres/roles.sh: who may connect to which database."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from harness.compose import ROOT
from task_contracts import ApiKeyCreate, KeyText, Scope
from task_contracts.lifecycle import CANCELLATION
from task_migrations import upgrade
from task_store import (
    NOBODY,
    ApiKeys,
    Audit,
    Database,
    Queues,
    Revocation,
    TaskFilter,
    Tasks,
    open_scopes,
)
from task_store.testing import PrivatePostgres

pytestmark = pytest.mark.private_servers

PASSWORD = "x"
ROLES = ("task_migrator", "task_api", "task_worker")
CREATE = """SELECT create_task('{"name": "a task"}')"""
CONNECTING = """
SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege($1, datname, 'CONNECT') ORDER BY datname
"""


@pytest.fixture
async def server() -> AsyncIterator[PrivatePostgres]:
    """A PostgreSQL with the superuser of its image."""
    async with PrivatePostgres() as server:
        await execute(
            server, f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{PASSWORD}'", "CREATE ROLE stranger LOGIN"
        )
        yield server


async def execute(server: PrivatePostgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.url(), timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=10)


async def databases_of(server: PrivatePostgres, role: str) -> list[str]:
    connection = await asyncpg.connect(server.url(), timeout=10)
    try:
        return [row["datname"] for row in await connection.fetch(CONNECTING, role)]
    finally:
        await connection.close(timeout=10)


def as_role(server: PrivatePostgres, role: str) -> str:
    return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{urlsplit(server.url()).port}/tasks"


def run_script(server: PrivatePostgres, folder: Path) -> None:
    """Run the script as the container would: with these secrets, on this server, with psql of its version."""
    for name in ("postgres", *ROLES):
        (folder / f"{name}_password").write_text(PASSWORD)
    script = (ROOT / "deploy" / "postgres" / "roles.sh").read_text()
    script = script.replace("/run/secrets", str(folder)).replace("PGHOST=db", "PGHOST=127.0.0.1")
    environment = {
        **os.environ,
        "PATH": f"{server.binaries.folder}:{os.environ['PATH']}",
        "PGPORT": str(urlsplit(server.url()).port),
    }
    subprocess.run(["sh", "-c", script], env=environment, check=True, timeout=60)


async def test_a_role_connects_to_the_database_of_tasks_and_to_no_other(
    server: PrivatePostgres, tmp_path: Path
) -> None:
    run_script(server, tmp_path)
    await execute(server, "CREATE DATABASE restored OWNER task_migrator")  # as docs/backup.md does
    run_script(server, tmp_path)

    assert await databases_of(server, "task_migrator") == ["restored", "tasks"]
    assert await databases_of(server, "task_api") == ["tasks"]
    assert await databases_of(server, "task_worker") == ["tasks"]
    assert await databases_of(server, "task_producer") == ["tasks"]
    assert await databases_of(server, "stranger") == []
    assert "tasks" in await databases_of(server, "postgres")


async def test_a_member_of_task_producer_creates_tasks_by_the_function_and_sees_no_table(
    server: PrivatePostgres, tmp_path: Path
) -> None:
    run_script(server, tmp_path)
    await upgrade(as_role(server, "task_migrator"))
    run_script(server, tmp_path)
    await execute(server, f"CREATE ROLE shop LOGIN PASSWORD '{PASSWORD}' IN ROLE task_producer")
    async with Database(as_role(server, "task_api")) as database:
        await Queues(database).add(["default"], default_type=None)
        await Queues(database).add(["default"], default_type="echo")
    api = await asyncpg.connect(as_role(server, "task_api"), timeout=10)

    shop = await asyncpg.connect(as_role(server, "shop"), timeout=10)
    task_id = await shop.fetchval(CREATE)
    for forbidden in (
        "SELECT FROM tasks",
        "SELECT FROM queues",
        "INSERT INTO tasks DEFAULT VALUES",
        "CREATE TABLE t ()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await shop.execute(forbidden)

    assert await api.fetchval("SELECT count(*) FROM tasks WHERE id = $1", task_id) == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await api.execute(CREATE)
    for connection in (shop, api):
        await connection.close(timeout=10)


async def test_a_function_that_everybody_may_call_is_taken_back(server: PrivatePostgres, tmp_path: Path) -> None:
    """As `pg_restore --no-privileges` leaves it."""
    run_script(server, tmp_path)
    url = as_role(server, "task_migrator")
    await upgrade(url)
    migrator = await asyncpg.connect(url, timeout=10)
    await migrator.execute("GRANT EXECUTE ON FUNCTION create_task(json) TO PUBLIC")
    may_call = "SELECT has_function_privilege('task_worker', 'create_task(json)', 'EXECUTE')"
    before = await migrator.fetchval(may_call)

    run_script(server, tmp_path)

    assert (before, await migrator.fetchval(may_call)) == (True, False)
    await migrator.close(timeout=10)


async def test_a_refused_role_is_refused_at_once(server: PrivatePostgres, tmp_path: Path) -> None:
    run_script(server, tmp_path)
    port = urlsplit(server.url()).port

    async def connect(database: str) -> None:
        url = f"postgresql://task_api:{PASSWORD}@127.0.0.1:{port}/{database}"
        await (await asyncpg.connect(url, timeout=10)).close(timeout=10)

    await connect("tasks")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await connect("postgres")


async def test_the_audit_is_only_added_to_and_a_worker_cannot_give_itself_a_key(
    server: PrivatePostgres, tmp_path: Path
) -> None:
    run_script(server, tmp_path)
    await upgrade(as_role(server, "task_migrator"))
    run_script(server, tmp_path)
    async with Database(as_role(server, "task_api")) as database:
        keys = ApiKeys(database)
        texts = [KeyText.new() for _ in range(2)]
        for text in texts:
            await keys.create(text, ApiKeyCreate(name="a key", scopes=frozenset(Scope)), NOBODY)
        assert await keys.revoke(texts[0].id, NOBODY) is Revocation.REVOKED
        await keys.note_use(texts[1].id)
        await Tasks(database).change_many(CANCELLATION, TaskFilter(), items=10)
        entries, _ = await Audit(database).page(items=10)
    assert len(entries) == 4
    async with open_scopes(as_role(server, "task_worker")) as scopes_of:
        assert await scopes_of(str(texts[1]).encode()) == frozenset(Scope)

    forbidden = {
        "task_api": (
            "UPDATE audit_log SET actor = 'nobody'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
            "DELETE FROM api_keys",
            "UPDATE api_keys SET scopes = '{keys}'",
            "UPDATE api_keys SET secret_hash = secret_hash",
        ),
        "task_worker": (
            "SELECT FROM audit_log",
            "INSERT INTO audit_log SELECT * FROM audit_log",
            "INSERT INTO api_keys SELECT * FROM api_keys",
            "UPDATE api_keys SET revoked_at = NULL",
            "DELETE FROM api_keys",
        ),
    }
    for role, statements in forbidden.items():
        connection = await asyncpg.connect(as_role(server, role), timeout=10)
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close(timeout=10)
