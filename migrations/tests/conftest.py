"""A real PostgreSQL for the tests that ask for one."""

from __future__ import annotations

pytest_plugins = ["task_store.testing"]
