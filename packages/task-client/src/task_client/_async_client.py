"""The asynchronous client: the methods of `TaskClient`, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, closing
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, assert_never, overload
from uuid import UUID, uuid4

import httpx2

from task_client import _calls as calls
from task_client._access import Nothing, new_key, new_pause
from task_client._answers import Model
from task_client._async_streams import AsyncStreams
from task_client._bodies import NewTask, TaskFields, TaskOptions, as_create
from task_client._bulk import change_many, count
from task_client._call import Call
from task_client._completing import Completion, in_order
from task_client._creating import create, create_lazily, create_many
from task_client._filters import BulkFilters, EventFilters, TaskFilters, given
from task_client._flows import ask, page_of, pages
from task_client._http import DEFAULT_TIMEOUT_SECONDS, client_options, request_options, stream_options
from task_client._keys import KeySource
from task_client._mapping import TaskReference, ids_of, tasks_of_type
from task_client._repeats import NEVER, RepeatPolicy
from task_client._steps import Done, Emit, Flow, Hear, Listen, Send, Step, StepOutcome, Unlisten, Wait, advance
from task_client._waiting import wait
from task_client._watching import ChangesOfMany, ChangesOfOne
from task_contracts import (
    ApiKey,
    Attempt,
    AuditAction,
    AuditEntry,
    AuditPage,
    CreatedApiKey,
    Demand,
    ErrorGroup,
    Explanation,
    Health,
    ItemList,
    Pause,
    Priority,
    QueueState,
    Scope,
    Stats,
    Task,
    TaskPage,
    TaskState,
    TaskSummary,
    TypeInfo,
    Version,
    View,
    WorkerInfo,
)

Result = TypeVar("Result")


class AsyncTaskClient:
    """A client of the task service for one event loop; arguments, answers and errors are those of `TaskClient`.

    A method that is cancelled stops at once; the service may still do what it was asked for.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: KeySource | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        repeats: RepeatPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._repeats = repeats or RepeatPolicy()
        self._http = httpx2.AsyncClient(
            **client_options(base_url, timeout_seconds, headers, api_key), transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._http.aclose()

    @overload
    async def create(self, task: NewTask, *, key: str | None = None) -> Task: ...
    @overload
    async def create(self, *, key: str | None = None, **fields: Unpack[TaskFields]) -> Task: ...
    async def create(self, task: NewTask | None = None, *, key: str | None = None, **fields: Any) -> Task:
        """Create a task: see `TaskClient.create`."""
        return await self._run(create(as_create(fields if task is None else task), key, self._key_of, self._repeats))

    async def create_many(self, tasks: Iterable[NewTask], *, key: str | None = None) -> list[TaskSummary]:
        """Create tasks, as many as there are: see `TaskClient.create_many`."""
        return await self._run(create_many(tasks, key, self._key_of, self._repeats))

    def iter_create_many(self, tasks: Iterable[NewTask], *, key: str | None = None) -> AsyncIterator[TaskSummary]:
        """Create tasks, and yield their summaries as they are created: see `TaskClient.iter_create_many`."""
        return self._iterate(create_lazily(tasks, key, self._key_of, self._repeats))

    async def get(self, task_id: UUID | str) -> Task:
        """Return a task with all its fields: see `TaskClient.get`."""
        return await self._ask(calls.get(task_id), Task)

    async def status(self, task_id: UUID | str) -> TaskState:
        """Return the state of a task: see `TaskClient.status`."""
        return await self._ask(calls.status(task_id), TaskState)

    async def cancel(self, task_id: UUID | str) -> Task:
        """Cancel a task, or request that if it is running: see `TaskClient.cancel`."""
        return await self._ask(calls.cancel(task_id), Task)

    async def rerun(self, task_id: UUID | str) -> Task:
        """Run a task again that is FAILED or CANCELLED: see `TaskClient.rerun`."""
        return await self._ask(calls.rerun(task_id), Task)

    async def update(
        self,
        task_id: UUID | str,
        *,
        priority: Priority | None = None,
        run_at: datetime | Literal["now"] | None = None,
        if_version: int | None = None,
    ) -> Task:
        """Change a task that has yet to be run: see `TaskClient.update`."""
        return await self._ask(calls.update(task_id, priority, run_at, if_version), Task)

    async def cancel_many(
        self,
        *,
        every: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[int], object] | None = None,
        **filters: Unpack[BulkFilters],
    ) -> int:
        """Cancel all tasks that meet the filters: see `TaskClient.cancel_many`."""
        return await self._change_many("cancel", filters, every, dry_run, on_progress)

    async def rerun_many(
        self,
        *,
        every: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[int], object] | None = None,
        **filters: Unpack[BulkFilters],
    ) -> int:
        """Run all FAILED or CANCELLED tasks again that meet the filters: see `TaskClient.rerun_many`."""
        return await self._change_many("rerun", filters, every, dry_run, on_progress)

    async def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Wait until the task has ended, and return it: see `TaskClient.wait`."""
        self._begin_to_wait()
        return await self._run(wait(calls.as_id(task_id), timeout_seconds, self._repeats))

    def as_completed(
        self, tasks: Iterable[TaskReference], *, timeout_seconds: float | None = None
    ) -> AsyncGenerator[Task, None]:
        """Yield tasks as they end: see `TaskClient.as_completed`."""
        self._begin_to_wait()
        return self._iterate(Completion(ids_of(tasks), timeout_seconds, self._repeats).run())

    async def map(
        self,
        type: str,  # noqa: A002 # the name of the field
        payloads: Iterable[Mapping[str, object]],
        *,
        key: str | None = None,
        wait_seconds: float | None = None,
        **options: Unpack[TaskOptions],
    ) -> AsyncGenerator[Task, None]:
        """Create a task for each payload, and yield them in this order once they have ended: see `TaskClient.map`."""
        created = await self.create_many(tasks_of_type(type, payloads, options), key=key)
        ids = ids_of(created)
        self._begin_to_wait()
        ended = self._iterate(in_order(ids, Completion(ids, wait_seconds, self._repeats).run()))
        async with aclosing(ended):
            async for task in ended:
                yield task

    @overload
    def events(self, task_id: UUID | str) -> AsyncGenerator[TaskState, None]: ...
    @overload
    def events(self, **filters: Unpack[EventFilters]) -> AsyncGenerator[TaskState, None]: ...
    def events(self, task_id: UUID | str | None = None, **filters: Any) -> AsyncGenerator[TaskState, None]:
        """Yield the state of a task, or of many, at each change: see `TaskClient.events`."""
        if task_id is not None:
            return self._iterate(ChangesOfOne(calls.as_id(task_id), self._repeats).run())
        return self._iterate(ChangesOfMany(filters, self._repeats).run())

    async def attempts(self, task_id: UUID | str) -> list[Attempt]:
        """Return every attempt of a task: see `TaskClient.attempts`."""
        return (await self._ask(calls.attempts(task_id), ItemList[Attempt])).items

    async def explain(self, task_id: UUID | str) -> Explanation:
        """Return why a task is where it is: see `TaskClient.explain`."""
        return await self._ask(calls.explain(task_id), Explanation)

    async def stats(self) -> Stats:
        """Return what waits, what runs and what happened in the last minutes: see `TaskClient.stats`."""
        return await self._ask(calls.look("stats"), Stats)

    async def queues(self) -> list[QueueState]:
        """Return what waits and runs in each queue: see `TaskClient.queues`."""
        return (await self._ask(calls.look("queues"), ItemList[QueueState])).items

    async def demand(self, queue: str, *, target_wait_seconds: float | None = None) -> Demand:
        """Return how many workers a queue wants: see `TaskClient.demand`."""
        return await self._ask(calls.demand(queue, target_wait_seconds), Demand)

    async def errors(self) -> list[ErrorGroup]:
        """Return the failures of the last day in groups of one kind: see `TaskClient.errors`."""
        return (await self._ask(calls.look("errors"), ItemList[ErrorGroup])).items

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers: see `TaskClient.workers`."""
        return (await self._ask(calls.look("workers"), ItemList[WorkerInfo])).items

    async def types(self) -> list[TypeInfo]:
        """Return the types that workers offer: see `TaskClient.types`."""
        return (await self._ask(calls.look("types"), ItemList[TypeInfo])).items

    async def version(self) -> Version:
        """Return what runs there: see `TaskClient.version`."""
        return await self._ask(calls.look("version"), Version)

    async def create_key(
        self,
        name: str,
        scopes: Iterable[Scope | str],
        *,
        owner: str | None = None,
        expires_at: datetime | None = None,
    ) -> CreatedApiKey:
        """Create a key and return it with its text: see `TaskClient.create_key`."""
        return await self._ask(calls.create_key(new_key(name, scopes, owner, expires_at)), CreatedApiKey)

    async def list_keys(self, *, include_revoked: bool = False) -> list[ApiKey]:
        """Return the keys: see `TaskClient.list_keys`."""
        return (await self._ask(calls.keys(include_revoked), ItemList[ApiKey])).items

    async def revoke_key(self, key_id: str) -> None:
        """Revoke a key: see `TaskClient.revoke_key`."""
        await self._ask(calls.revoke_key(key_id), Nothing)

    def list_audit(
        self, *, action: AuditAction | str | None = None, actor: str | None = None, limit: int | None = None
    ) -> AsyncIterator[AuditEntry]:
        """Yield what operators did: see `TaskClient.list_audit`."""
        return self._iterate(
            pages(calls.audit(given(action=action, actor=actor, limit=limit)), AuditPage, self._repeats)
        )

    async def audit_page(
        self,
        *,
        action: AuditAction | str | None = None,
        actor: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AuditPage:
        """Return one page of what operators did: see `TaskClient.audit_page`."""
        return await self._ask(calls.audit(given(action=action, actor=actor, limit=limit), cursor), AuditPage)

    async def pause(
        self,
        *,
        queue: str | None = None,
        type: str | None = None,  # noqa: A002 # the name of the field
        priority: Priority | None = None,
        reason: str | None = None,
        until: datetime | None = None,
        every: bool = False,
    ) -> Pause:
        """Pause tasks: see `TaskClient.pause`."""
        return await self._ask(calls.pause(new_pause(queue, type, priority, reason, until, is_all=every)), Pause)

    async def list_pauses(self, *, include_ended: bool = False) -> list[Pause]:
        """Return the pauses: see `TaskClient.list_pauses`."""
        return (await self._ask(calls.pauses(include_ended), ItemList[Pause])).items

    async def resume(self, pause_id: UUID | str) -> Pause:
        """End a pause: see `TaskClient.resume`."""
        return await self._ask(calls.resume(pause_id), Pause)

    @overload
    def list(
        self, *, view: Literal[View.SUMMARY] = View.SUMMARY, **filters: Unpack[TaskFilters]
    ) -> AsyncIterator[TaskSummary]: ...
    @overload
    def list(self, *, view: Literal[View.FULL], **filters: Unpack[TaskFilters]) -> AsyncIterator[Task]: ...
    def list(self, *, view: View = View.SUMMARY, **filters: Unpack[TaskFilters]) -> AsyncIterator[Any]:
        """Yield all tasks that meet the filters: see `TaskClient.list`."""
        return self._iterate(pages(calls.page(filters, view), page_of(view), self._repeats))

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
        return await self._ask(calls.page(filters, view, cursor, include_total), page_of(view))

    async def health(self) -> Health:
        """Return whether the process answers: see `TaskClient.health`."""
        return await self._run(ask(calls.live(), Health, NEVER))

    async def ready(self) -> Health:
        """Return whether the service takes requests: see `TaskClient.ready`."""
        return await self._run(ask(calls.ready(), Health, NEVER))

    def _begin_to_wait(self) -> None:
        """Do nothing; overridden by who wants to know that somebody waits for tasks."""

    def _key_of(self, content: bytes, given: str | None) -> str:
        """Return the key of a create with this body; `given` is the caller's own. Overridden by who derives keys."""
        del content
        return str(uuid4()) if given is None else given

    async def _change_many(
        self,
        verb: Literal["cancel", "rerun"],
        filters: Mapping[str, object],
        every: bool,
        dry_run: bool,
        on_progress: Callable[[int], object] | None,
    ) -> int:
        look = calls.change_many(verb, filters, is_all=every, is_dry_run=True)
        if dry_run:
            return await self._run(count(look, self._repeats))
        change = calls.change_many(verb, filters, is_all=every, is_dry_run=False)
        begin = look if verb == "rerun" else None
        return await self._run(change_many(begin, change, self._repeats, on_progress))

    async def _ask(self, call: Call, model: type[Model]) -> Model:
        return await self._run(ask(call, model, self._repeats))

    async def _run(self, flow: Flow[Result]) -> Result:
        async with aclosing(AsyncStreams(self._http)) as streams:
            step = advance(flow, None)
            while not isinstance(step, Done):
                step = advance(flow, await self._do(step, streams))
            return step.result

    async def _iterate(self, flow: Flow[None]) -> AsyncGenerator[Any, None]:
        with closing(flow):
            async with aclosing(AsyncStreams(self._http)) as streams:
                step = advance(flow, None)
                while not isinstance(step, Done):
                    if isinstance(step, Emit):
                        yield step.item
                    step = advance(flow, await self._do(step, streams))

    async def _do(self, step: Step, streams: AsyncStreams) -> StepOutcome:
        match step:
            case Send():
                return await self._send(step)
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Listen(stream, call):
                await streams.listen(stream, stream_options(call, self._timeout_seconds))
            case Hear(seconds):
                return await streams.hear(seconds)
            case Unlisten(stream):
                await streams.unlisten(stream)
            case Emit():
                pass  # the caller has it
            case _:
                assert_never(step)
        return None

    async def _send(self, send: Send) -> StepOutcome:
        try:
            return await self._http.request(**request_options(send, self._timeout_seconds))
        except httpx2.RequestError as error:
            return error
