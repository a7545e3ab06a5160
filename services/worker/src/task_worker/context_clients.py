"""The clients of the API that a handler's context has: the usual ones, which also tell when the handler waits."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from task_client import AsyncTaskClient, TaskClient
from task_contracts import Task


class ContextTaskClient(TaskClient):
    """A synchronous client that calls `on_wait` whenever it begins to wait for a task."""

    def __init__(self, base_url: str, on_wait: Callable[[], None]) -> None:
        super().__init__(base_url)
        self._on_wait = on_wait

    def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Wait until the task has ended, and return it: see `TaskClient.wait`."""
        self._on_wait()
        return super().wait(task_id, timeout_seconds)


class ContextAsyncTaskClient(AsyncTaskClient):
    """An asynchronous client that calls `on_wait` whenever it begins to wait for a task."""

    def __init__(self, base_url: str, on_wait: Callable[[], None]) -> None:
        super().__init__(base_url)
        self._on_wait = on_wait

    async def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Wait until the task has ended, and return it: see `TaskClient.wait`."""
        self._on_wait()
        return await super().wait(task_id, timeout_seconds)
