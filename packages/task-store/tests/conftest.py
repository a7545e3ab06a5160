"""A real PostgreSQL for the tests that ask for one by `postgres_server` or `database_url`."""

from __future__ import annotations

pytest_plugins = ["task_store.testing"]
