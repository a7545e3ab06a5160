"""What a handler is told of the task that it runs, and what it can tell back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from task_contracts import Progress, limits, storable_text

if TYPE_CHECKING:
    from task_client import AsyncTaskClient, TaskClient


_CLOSING_SECONDS = 5.0


class TaskCancelled(BaseException):  # like asyncio's CancelledError: passes through `except Exception`
    """Raised by `Context.raise_if_stopped`: whoever catches it should tidy up and let it pass."""


@dataclass(frozen=True)
class TaskDetails:
    """The task and the attempt, as far as they are fixed."""

    id: UUID
    name: str
    type: str
    queue: str
    labels: dict[str, str]
    attempt: int
    lease_token: UUID
    api_url: str


class Context:
    """The task in hand. Usable from the event loop, from a thread and in a process of its own alike."""

    def __init__(
        self, facts: TaskDetails, *, report: Callable[[Progress], None], is_stopped: Callable[[], bool]
    ) -> None:
        self._details = facts
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
        """A token of this attempt alone, for writes elsewhere that a late attempt must not make ("fencing token")."""
        return self._details.lease_token

    @property
    def is_stopped(self) -> bool:
        """Whether the code should come to an end: cancelled, out of time, or its worker may not go on.

        An async handler gets a `CancelledError` besides, and a process is ended; a plain function must look here.
        """
        return self._is_stopped()

    def raise_if_stopped(self) -> None:
        """Raise `TaskCancelled` if the code should come to an end: to be called now and then by a plain function."""
        if self._is_stopped():
            raise TaskCancelled

    def progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the task has come. Returns at once; what is said in quick succession is folded together.

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
        """The same for a plain function."""
        if self._sync_client is None:
            from task_client import TaskClient  # as above

            self._sync_client = TaskClient(self._details.api_url)
        return self._sync_client

    @property
    def has_clients(self) -> bool:
        """Whether there is anything to close."""
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
