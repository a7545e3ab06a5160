"""The types that every worker offers."""

from task_worker.builtin.echo import echo

__all__ = ["echo"]
