"""What a handler can read of the task that it runs, and what it can report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from task_contracts import Progress, limits, storable_text
from task_worker.exceptions import TaskCancelled

if TYPE_CHECKING:
    from task_client import AsyncTaskClient, TaskClient


_CLOSING_SECONDS = 5.0


@dataclass(frozen=True)
class TaskDetails:
    """What does not change of a task while one attempt of it runs."""

    id: UUID
    name: str
    type: str
    queue: str
    labels: dict[str, str]
    attempt: int
    lease_token: UUID
    api_url: str


class Context:
    """The task that a handler runs. To be used from the event loop, from a thread and in a process of its own alike."""

    def __init__(
        self, details: TaskDetails, *, report: Callable[[Progress], None], is_stopped: Callable[[], bool]
    ) -> None:
        self._details = details
        self._report = report
        self._is_stopped = is_stopped
        self._client: AsyncTaskClient | None = None
        self._sync_client: TaskClient | None = None

    @property
    def id(self) -> UUID:
        """The task's id."""
        return self._details.id

    @property
    def name(self) -> str:
        """The task's name."""
        return self._details.name

    @property
    def type(self) -> str:
        """The task's type: the name of this handler."""
        return self._details.type

    @property
    def queue(self) -> str:
        """The queue that the task came from."""
        return self._details.queue

    @property
    def labels(self) -> dict[str, str]:
        """The task's labels."""
        return dict(self._details.labels)

    @property
    def attempt(self) -> int:
        """Which attempt this is: 1 for the first, counted over all runs."""
        return self._details.attempt

    @property
    def lease_token(self) -> UUID:
        """A token of this attempt alone ("fencing token"), by which other systems can refuse writes of an older one."""
        return self._details.lease_token

    @property
    def is_stopped(self) -> bool:
        """Whether the code should end: cancelled, out of time, or its worker may not go on.

        An async handler gets a `CancelledError` besides, and a process is ended; a plain function must look here.
        """
        return self._is_stopped()

    def raise_if_stopped(self) -> None:
        """Raise `TaskCancelled` if the code should end: for a plain function to call now and then."""
        if self._is_stopped():
            raise TaskCancelled

    def progress(self, percent: float, message: str | None = None) -> None:
        """Report how far the task has come. Returns at once; of quick reports the latest is stored.

        Args:
            percent: 0 to 100; anything outside is moved to the nearer end.
            message: what is being done, up to 500 characters; longer ones are cut.

        """
        text = None if message is None else storable_text(message, limits.PROGRESS_MESSAGE_CHARS)
        self._report(Progress(percent=min(100.0, max(0.0, float(percent))), message=text))

    @property
    def client(self) -> AsyncTaskClient:
        """An asynchronous client of this service, to create follow-up tasks. A repeated attempt creates them again."""
        if self._client is None:
            from task_client import AsyncTaskClient  # here: an HTTP stack that most handlers do without

            self._client = AsyncTaskClient(self._details.api_url)
        return self._client

    @property
    def sync_client(self) -> TaskClient:
        """The same for a plain function: a synchronous client."""
        if self._sync_client is None:
            from task_client import TaskClient  # as above

            self._sync_client = TaskClient(self._details.api_url)
        return self._sync_client

    @property
    def has_clients(self) -> bool:
        """Whether a client was used, so that `aclose` has something to close."""
        return self._client is not None or self._sync_client is not None

    async def aclose(self) -> None:
        """Close the clients that were used.

        Raises:
            TimeoutError: that took too long.

        """
        if self._client is not None:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._client.aclose()
        if self._sync_client is not None:
            self._sync_client.close()
