"""The context of a handler under test: the worker's own, but for its clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from task_client import AsyncTaskClient, TaskClient
from task_contracts import Progress
from task_worker.context import Context, TaskDetails
from task_worker.testing.recording_api import API_URL, RecordingApi


class RunContext(Context):
    """Its clients speak to a recording API, or are both `given_client`, which is closed by whoever made it."""

    def __init__(
        self,
        details: TaskDetails,
        *,
        report: Callable[[Progress], None],
        is_stopped: Callable[[], bool],
        api: RecordingApi,
        given_client: object,
    ) -> None:
        super().__init__(details, report=report, is_stopped=is_stopped)
        self._api = api
        self._given_client = given_client

    @property
    def client(self) -> AsyncTaskClient:
        """As in a worker."""
        if self._given_client is not None:
            return cast("AsyncTaskClient", self._given_client)
        if self._client is None:
            self._client = AsyncTaskClient(API_URL, transport=self._api.async_transport)
        return self._client

    @property
    def sync_client(self) -> TaskClient:
        """As in a worker."""
        if self._given_client is not None:
            return cast("TaskClient", self._given_client)
        if self._sync_client is None:
            self._sync_client = TaskClient(API_URL, transport=self._api.transport)
        return self._sync_client
