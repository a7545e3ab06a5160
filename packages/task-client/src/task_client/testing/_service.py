"""The fake service: what a test makes, fills and asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import httpx2

from task_client._async_client import AsyncTaskClient
from task_client._client import TaskClient
from task_client.testing._access import FakeKeys
from task_client.testing._answers import Held
from task_client.testing._routes import Routes
from task_client.testing._tasks import FakeTasks, Handler
from task_contracts import ApiKeyCreate, Progress, Scope, Task, TaskError

BASE_URL = "http://task-service.test"
_LOOK_SECONDS = 0.005
_Handler = TypeVar("_Handler", bound=Handler)


class FakeService:
    """A task service in this process, without a network: the same checks, keys, filters, waits and streams.

    A task of a type in `handlers` ends right after it is created: COMPLETED with what its function returns, or FAILED
    with what that raises. Any other task waits until the test says what happens to it (`begin`, `complete`, `fail`).
    It can be used from several threads. Limits of size and time beyond those of bodies are left out.

    Args:
        handlers: by type, a function that gets a payload (a dict) and returns the result.
        queues: the queues that exist.
        default_type: the type of a task that names none.
        require_keys: whether callers need a key (`new_key` makes one) with the scope of what they ask for. Without it,
            everybody may do everything, whatever key is sent.

    """

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        queues: frozenset[str] = frozenset({"default"}),
        default_type: str = "echo",
        require_keys: bool = False,
    ) -> None:
        self._handlers: dict[str, Handler] = dict(handlers or {})
        self._tasks = FakeTasks(self._handlers, default_type)
        self._keys = FakeKeys(are_required=require_keys)
        self._routes = Routes(self._tasks, queues, self._keys)
        self.requests: list[httpx2.Request] = []
        """What was asked, in order."""

    def client(self, **options: Any) -> TaskClient:
        """Return a client of this service; `options` are those of `TaskClient`."""
        return TaskClient(BASE_URL, transport=self.transport, **options)

    def async_client(self, **options: Any) -> AsyncTaskClient:
        """Return an asynchronous client of this service; `options` are those of `AsyncTaskClient`."""
        return AsyncTaskClient(BASE_URL, transport=self.async_transport, **options)

    def new_key(self, *scopes: Scope, owner: str = "test") -> str:
        """Return the text of a new key with these scopes; with all of them, if none is named."""
        create = ApiKeyCreate(name="of the test", scopes=frozenset(scopes or Scope), owner=owner)
        with self._tasks.changed:
            return self._keys.new(create).key

    @property
    def transport(self) -> httpx2.BaseTransport:
        """What a `TaskClient` made elsewhere is given to talk to this service."""
        return httpx2.MockTransport(self.answer)

    @property
    def async_transport(self) -> httpx2.AsyncBaseTransport:
        """What an `AsyncTaskClient` made elsewhere is given to talk to this service."""
        return httpx2.MockTransport(self.answer_async)

    @property
    def tasks(self) -> list[Task]:
        """All tasks as they are now, the oldest first."""
        return [task for task, _ in self._tasks.all()]

    def on(self, type_: str) -> Callable[[_Handler], _Handler]:
        """Decorate the function that ends tasks of a type from now on, as in `handlers`."""

        def add(handler: _Handler) -> _Handler:
            self._handlers[type_] = handler
            return handler

        return add

    def begin(self, task_id: UUID) -> Task:
        """Let a worker begin a task that waits: it is IN_PROGRESS.

        This and the methods below raise `KeyError` for an unknown id and `WrongStatusError` where the life cycle
        forbids it.
        """
        return self._tasks.begin(task_id)

    def progress(self, task_id: UUID, percent: float, message: str | None = None) -> Task:
        """Set the progress of a running task."""
        return self._tasks.progress(task_id, Progress(percent=percent, message=message))

    def complete(self, task_id: UUID, result: object = None) -> Task:
        """End a task as COMPLETED."""
        return self._tasks.complete(task_id, result)

    def fail(self, task_id: UUID, message: str = "it failed", *, code: str = "failed", type: str | None = None) -> Task:  # noqa: A002 # the name of the field
        """End a task as FAILED, or as CANCELLED if it was asked to stop."""
        return self._tasks.fail(task_id, TaskError(code=code, message=message, type=type))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request; a waiting one blocks its thread."""
        answer = self._answer(request)
        if isinstance(answer, Held):
            with self._tasks.changed:
                self._tasks.changed.wait_for(answer.is_ready, answer.seconds)
                return answer.answer()
        return answer

    async def answer_async(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request without blocking the event loop."""
        answer = self._answer(request)
        if isinstance(answer, Held):
            end = time.monotonic() + answer.seconds
            while not answer.is_ready() and time.monotonic() < end:  # noqa: ASYNC110 # threads change tasks too
                await asyncio.sleep(_LOOK_SECONDS)
            return answer.answer()
        return answer

    def _answer(self, request: httpx2.Request) -> httpx2.Response | Held:
        self.requests.append(request)
        return self._routes.answer(request)
