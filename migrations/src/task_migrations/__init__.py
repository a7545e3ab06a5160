"""The schema of the task service, as Alembic migrations."""
