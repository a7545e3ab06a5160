"""The asynchronous client: the methods of `TaskClient`, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload
from uuid import UUID, uuid4

import httpx2

from task_client import _calls as calls
from task_client._answers import Model
from task_client._calls import Call, TaskFilters
from task_client._flows import Done, Flow, Send, StepOutcome, Wait, advance, ask, wait
from task_client._http import DEFAULT_TIMEOUT_SECONDS, client_options, request_options
from task_client._repeats import RepeatPolicy
from task_contracts import Health, Task, TaskCreate, TaskPage, TaskState, TaskSummary, View

Result = TypeVar("Result")


class AsyncTaskClient:
    """A client of the task service for one event loop; arguments, answers and errors are those of `TaskClient`.

    A method that is cancelled stops at once; the service may still do what it was asked for.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        repeats: RepeatPolicy | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._repeats = repeats or RepeatPolicy()
        self._http = httpx2.AsyncClient(**client_options(base_url, timeout_seconds), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._http.aclose()

    async def create(self, task: TaskCreate, *, key: str | None = None) -> Task:
        """Create a task. A repeat creates another one: see `TaskClient.create`."""
        return await self._ask(self._keyed(calls.create(task), key), Task)

    async def get(self, task_id: UUID | str) -> Task:
        """Return a task with all its fields: see `TaskClient.get`."""
        return await self._ask(calls.get(task_id), Task)

    async def status(self, task_id: UUID | str) -> TaskState:
        """Return the state of a task: see `TaskClient.status`."""
        return await self._ask(calls.status(task_id), TaskState)

    async def cancel(self, task_id: UUID | str) -> Task:
        """Cancel a task, or request that if it is running: see `TaskClient.cancel`."""
        return await self._ask(calls.cancel(task_id), Task)

    async def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Wait until the task has ended, and return it: see `TaskClient.wait`."""
        return await self._run(wait(UUID(str(task_id)), timeout_seconds))

    @overload
    def list(
        self, *, view: Literal[View.SUMMARY] = View.SUMMARY, **filters: Unpack[TaskFilters]
    ) -> AsyncIterator[TaskSummary]: ...
    @overload
    def list(self, *, view: Literal[View.FULL], **filters: Unpack[TaskFilters]) -> AsyncIterator[Task]: ...
    async def list(self, *, view: View = View.SUMMARY, **filters: Unpack[TaskFilters]) -> AsyncIterator[Any]:
        """Yield all tasks that meet the filters: see `TaskClient.list`."""
        call = calls.page(filters, view)
        while True:
            page = await self._page(call, view)
            for task in page.items:
                yield task
            if page.next_cursor is None:
                return
            call = calls.after(call, page.next_cursor)

    @overload
    async def page(
        self,
        *,
        view: Literal[View.SUMMARY] = View.SUMMARY,
        cursor: str | None = None,
        include_total: bool = False,
        **filters: Unpack[TaskFilters],
    ) -> TaskPage[TaskSummary]: ...
    @overload
    async def page(
        self,
        *,
        view: Literal[View.FULL],
        cursor: str | None = None,
        include_total: bool = False,
        **filters: Unpack[TaskFilters],
    ) -> TaskPage[Task]: ...
    async def page(
        self,
        *,
        view: View = View.SUMMARY,
        cursor: str | None = None,
        include_total: bool = False,
        **filters: Unpack[TaskFilters],
    ) -> TaskPage[Any]:
        """Return one page of the tasks that meet the filters: see `TaskClient.page`."""
        return await self._page(calls.page(filters, view, cursor, include_total), view)

    async def health(self) -> Health:
        """Return whether the process answers: see `TaskClient.health`."""
        return await self._ask(calls.live(), Health)

    async def ready(self) -> Health:
        """Return whether the service takes requests: see `TaskClient.ready`."""
        return await self._ask(calls.ready(), Health)

    def _new_key(self, content: bytes) -> str:
        """Return a key for a create that was given none; `content` is its body. Overridden by who derives keys."""
        del content
        return str(uuid4())

    def _given_key(self, key: str) -> str:
        """Return the key to send where a create was given this one. Overridden by who keeps keys of callers apart."""
        return key

    def _keyed(self, call: Call, key: str | None) -> Call:
        return replace(call, key=self._new_key(call.content or b"") if key is None else self._given_key(key))

    async def _page(self, call: Call, view: View) -> TaskPage[Any]:
        return await self._ask(call, TaskPage[Task] if view is View.FULL else TaskPage[TaskSummary])

    async def _ask(self, call: Call, model: type[Model]) -> Model:
        return await self._run(ask(call, model, self._repeats))

    async def _run(self, flow: Flow[Result]) -> Result:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, await self._do(step))
        return step.result

    async def _do(self, step: Send | Wait) -> StepOutcome:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._http.request(**request_options(step, self._timeout_seconds))
        except httpx2.RequestError as error:
            return error
