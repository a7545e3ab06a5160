"""The context of a handler in a test: the worker's own, with clients that reach no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from task_client import AsyncTaskClient, TaskClient
from task_contracts import Progress
from task_worker.checkpoint_write import StoreCheckpoint
from task_worker.context import Context, TaskDetails
from task_worker.context_clients import ContextAsyncTaskClient, ContextTaskClient
from task_worker.testing.recording_api import API_URL, RecordingApi


class RunContext(Context):
    """A context whose clients call the recording API, or are both `given_client`, which the test closes."""

    def __init__(
        self,
        details: TaskDetails,
        *,
        report: Callable[[Progress], None],
        store_checkpoint: StoreCheckpoint,
        is_stopped: Callable[[], bool],
        on_wait: Callable[[], None],
        api: RecordingApi,
        given_client: object,
    ) -> None:
        super().__init__(
            details, report=report, store_checkpoint=store_checkpoint, is_stopped=is_stopped, on_wait=on_wait
        )
        self._api = api
        self._given_client = given_client

    @property
    def client(self) -> AsyncTaskClient:
        """The asynchronous client."""
        return super().client if self._given_client is None else cast("AsyncTaskClient", self._given_client)

    @property
    def sync_client(self) -> TaskClient:
        """The synchronous client."""
        return super().sync_client if self._given_client is None else cast("TaskClient", self._given_client)

    def _make_client(self) -> AsyncTaskClient:
        transport = self._api.async_transport
        return ContextAsyncTaskClient(API_URL, self._on_wait, self._create_keys(), transport=transport)

    def _make_sync_client(self) -> TaskClient:
        return ContextTaskClient(API_URL, self._on_wait, self._create_keys(), transport=self._api.transport)
