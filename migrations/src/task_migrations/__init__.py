"""The schema of the task service as Alembic migrations, and the command `task-migrate` that applies them."""

from task_migrations.upgrades import head, upgrade

__all__ = ["head", "upgrade"]
