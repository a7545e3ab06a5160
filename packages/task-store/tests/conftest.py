"""A real PostgreSQL for the tests that need one: `postgres_server` and `database_url`."""

from __future__ import annotations

pytest_plugins = ["task_store.testing"]
