"""A real PostgreSQL for tests: a pytest plugin, the server that it starts, and the rows past the store.

    pytest_plugins = ["task_store.testing"]    # in a conftest.py

brings the fixtures `postgres_server`, `database_url` and `prepare_database` (to be overridden, say by `create_tables`).
Needs the extra `testing`; any plugin for async tests will do. `PrivatePostgres` needs no pytest and can be stopped,
killed and frozen. `Table` puts rows as a test wants them, and reads them as they are.

A server that stands already is used if TASK_TEST_DATABASE_URL names it; no other variable is read.

PYTEST_DONT_REWRITE: nothing here asserts, and pytest warns of a plugin that a conftest has imported before.
"""

from task_store.testing._fixtures import (
    DatabaseTemplates,
    PrepareDatabase,
    database_templates,
    database_url,
    postgres_server,
    prepare_database,
    testing_runner,
)
from task_store.testing._private import PrivatePostgres
from task_store.testing._servers import GivenPostgres, PostgresServer, server_majors
from task_store.testing._table import Table, connect_past_store, create_tables

__all__ = [
    "DatabaseTemplates",
    "GivenPostgres",
    "PostgresServer",
    "PrepareDatabase",
    "PrivatePostgres",
    "Table",
    "connect_past_store",
    "create_tables",
    "database_templates",
    "database_url",
    "postgres_server",
    "prepare_database",
    "server_majors",
    "testing_runner",
]
