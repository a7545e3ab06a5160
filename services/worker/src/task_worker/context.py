"""The context that a handler gets.

It tells about the task, takes reports of progress and checkpoints, and has clients of the API.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import SecretStr

from task_contracts import Progress, limits, storable_text
from task_worker.checkpoint_write import CheckpointWrite, StoreCheckpoint, is_on_event_loop
from task_worker.create_keys import CreateKeys
from task_worker.exceptions import TaskCancelled

if TYPE_CHECKING:
    from task_client import AsyncTaskClient, TaskClient


_CLOSING_SECONDS = 5.0


class TaskDetails(NamedTuple):
    """The details of a task that do not change while an attempt runs.

    `checkpoint_text` is JSON that can be read, or None. `api_key` is the worker's. `traceparent` names the span of the
    attempt where it is traced.
    """

    id: UUID
    name: str
    type: str
    queue: str
    labels: dict[str, str]
    attempt: int
    rerun_count: int
    lease_token: UUID
    checkpoint_text: str | None
    api_url: str
    api_key: SecretStr | None = None
    traceparent: str | None = None


class Context:
    """The task that a handler runs. It works the same on the event loop, in a thread and in a process of its own."""

    def __init__(
        self,
        details: TaskDetails,
        *,
        report: Callable[[Progress], None],
        store_checkpoint: StoreCheckpoint,
        is_stopped: Callable[[], bool],
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._details = details
        self._report = report
        self._store_checkpoint = store_checkpoint
        self._is_stopped = is_stopped
        self._on_wait = on_wait
        self._client: AsyncTaskClient | None = None
        self._sync_client: TaskClient | None = None
        self._keys: CreateKeys | None = None
        self._making_clients = threading.Lock()  # several threads of a plain handler may ask for the first time

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
        """The queue of the task."""
        return self._details.queue

    @property
    def labels(self) -> dict[str, str]:
        """A copy of the task's labels."""
        return dict(self._details.labels)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1. A rerun does not begin again at 1."""
        return self._details.attempt

    @property
    def rerun_count(self) -> int:
        """How often a caller has asked for another run of the task; 0 in its first run."""
        return self._details.rerun_count

    @property
    def lease_token(self) -> UUID:
        """The fencing token of this attempt: with it another system can refuse writes of an older attempt."""
        return self._details.lease_token

    @property
    def is_stopped(self) -> bool:
        """Whether the code should end: it was cancelled, ran out of time, or its worker stops or lost its lease.

        An async handler also gets a `CancelledError`, and a process is ended by a signal. A plain function must look
        here.
        """
        return self._is_stopped()

    def raise_if_stopped(self) -> None:
        """Raise `TaskCancelled` if the code should end. A plain function calls this now and then."""
        if self._is_stopped():
            raise TaskCancelled

    def progress(self, percent: float, message: str | None = None) -> None:
        """Report how far the task is. Returns at once; of reports in quick succession only the latest is stored.

        Args:
            percent: 0 to 100; a value outside becomes 0 or 100.
            message: what is being done; cut after 500 characters.

        """
        text = None if message is None else storable_text(message, limits.PROGRESS_MESSAGE_CHARS)
        self._report(Progress(percent=min(100.0, max(0.0, float(percent))), message=text))

    def checkpoint(self, value: object) -> Awaitable[None]:
        """Keep `value` for the next attempt, which finds it as `checkpointed`. The last one counts.

        An async handler awaits it: `await context.checkpoint(page)`. For a plain function, and a handler in a process,
        it blocks until the value is stored: `context.checkpoint(page)`. (It blocks wherever no event loop runs.)

        Once it returns, the value is stored, and survives the worker. While the database does not answer, it is tried
        again. It stays for the next attempt however this one ends; a rerun begins without it. Callers of the API do not
        see it. After a stop it may be called once more, to keep how far the code has come: that is tried once.

        Args:
            value: anything that could be a result, up to 64 KiB as JSON. None keeps nothing.

        Raises:
            UnstorableCheckpointError: it cannot be stored; the text names the place and the class.
            TaskCancelled: it was not stored, or only perhaps, since the attempt was stopped before: or because of that,
                as the lease is lost. Let it pass. (Code that awaits it gets its `CancelledError`, as anywhere.)

        """
        write = CheckpointWrite(value, self._store_checkpoint)
        if not is_on_event_loop():
            write.wait()
        return write

    @property
    def checkpointed(self) -> Any:
        """The last checkpoint of the attempts before this one in the same run, as JSON has it; None if there is none.

        A new copy each time. What this attempt itself keeps does not change it.
        """
        text = self._details.checkpoint_text
        return None if text is None else orjson.loads(text)

    @property
    def client(self) -> AsyncTaskClient:
        """An asynchronous client of the API, to create follow-up tasks.

        Another attempt of this run that creates the same tasks creates none of them twice: each create has a key, made
        of this task's id, its `rerun_count`, what is created, and how often the same was created before in this
        attempt. Where what is created may differ from one attempt to the next (a time, say), keep it in a
        `checkpoint`, or give `key=`, which is then this task's and this run's alone.

        Do not `wait` for a task with it: this one keeps its slot meanwhile, and where all do, no other can run.
        """
        with self._making_clients:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    @property
    def sync_client(self) -> TaskClient:
        """A synchronous client of the API, for plain functions. The same holds for it."""
        with self._making_clients:
            if self._sync_client is None:
                self._sync_client = self._make_sync_client()
            return self._sync_client

    def _make_client(self) -> AsyncTaskClient:
        from task_worker.context_clients import ContextAsyncTaskClient  # here: most handlers need no HTTP library

        return ContextAsyncTaskClient(
            self._details.api_url,
            self._on_wait,
            self._create_keys(),
            api_key=self._details.api_key,
            traceparent=self._details.traceparent,
        )

    def _make_sync_client(self) -> TaskClient:
        from task_worker.context_clients import ContextTaskClient  # as above

        return ContextTaskClient(
            self._details.api_url,
            self._on_wait,
            self._create_keys(),
            api_key=self._details.api_key,
            traceparent=self._details.traceparent,
        )

    def _create_keys(self) -> CreateKeys:
        """Return what makes the keys of both clients: they count together."""
        if self._keys is None:
            self._keys = CreateKeys(self._details.id, self._details.rerun_count)
        return self._keys

    @property
    def has_clients(self) -> bool:
        """Whether a client was made, so that `aclose` has something to close."""
        return self._client is not None or self._sync_client is not None

    async def aclose(self) -> None:
        """Close the clients that were made.

        Raises:
            TimeoutError: the asynchronous client took longer than five seconds.

        """
        if self._client is not None:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._client.aclose()
        if self._sync_client is not None:
            self._sync_client.close()
