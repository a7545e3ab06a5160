"""The synchronous client: one method for each call of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, assert_never, overload
from uuid import UUID, uuid4

import httpx2

from task_client import _calls as calls
from task_client._access import Nothing, new_key, new_pause
from task_client._answers import Model
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
from task_client._streams import Streams
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


class TaskClient:
    """A client of the task service. It holds a pool of connections: keep it, share it between threads, close it.

    Args:
        base_url: the address of the service, such as `http://127.0.0.1:9000`; a path in it is kept.
        api_key: the key of the caller, where the service asks for one; or what returns it, which is asked before each
            request, so that a key can be replaced. That must return at once: an event loop may wait for it.
        timeout_seconds: how long connecting, sending, and each read of a request may take.
        repeats: how often, and after which pauses, a call is repeated; up to eight tries in some ten seconds by
            default, so that a service may restart.
        headers: sent with each request, such as those that a proxy asks for.
        transport: an httpx2 transport, such as that of `task_client.testing`, or one with a proxy or a CA of your own.

    Every method raises a `TaskClientError`, which names the URL and the cause. What cannot be done twice by it is
    repeated where the service is not reached or says that it is unavailable; every create is sent with a key, so that
    this holds for it too. From the third try on, a warning is logged (logger `task_client`). Nothing shows the key: no
    error, no log and no repr.

    Raises:
        ValueError: `base_url` does not begin with http:// or https://, or names no host; the key is none, or was
            mistyped; or there is an `Authorization` beside it. What a callable returns is checked before each request.

    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: KeySource | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        repeats: RepeatPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._repeats = repeats or RepeatPolicy()
        self._http = httpx2.Client(**client_options(base_url, timeout_seconds, headers, api_key), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._http.close()

    @overload
    def create(self, task: NewTask, *, key: str | None = None) -> Task: ...
    @overload
    def create(self, *, key: str | None = None, **fields: Unpack[TaskFields]) -> Task: ...
    def create(self, task: NewTask | None = None, *, key: str | None = None, **fields: Any) -> Task:
        """Create a task and return it as stored. Once this returns, the task cannot be lost.

        A task is a `TaskCreate`, a mapping of its fields, or given as keywords:
        `create(name="say hello", payload={"text": "hello"})`.

        Args:
            task: the task.
            key: the Idempotency-Key of this create, 1 to 255 visible ASCII characters: with the same key and the same
                task, a repeat returns the task that is there, from any process, until it is purged. Without it the
                client makes one, under which it repeats the create by itself; after an error, `error.key` is that key.
            fields: the fields of the task, where `task` is not given.

        Raises:
            ValidationFailedError: a field is wrong, or the queue does not exist.
            KeyMismatchError: the key belongs to another task.
            ProblemError: the service refuses it for another reason, such as its size.
            NoAnswerError, UnavailableError, UnexpectedAnswerError: see there. If `is_repeat_safe` is false, the task
                may or may not exist.

        """
        return self._run(create(as_create(fields if task is None else task), key, self._key_of, self._repeats))

    def create_many(self, tasks: Iterable[NewTask], *, key: str | None = None) -> list[TaskSummary]:
        """Create tasks, as many as there are, and return their summaries in the same order.

        Up to 1,000 go into one request, which creates all of them or none.

        Args:
            tasks: any iterable of `TaskCreate` or mappings of its fields.
            key: makes a repeat of all of it safe: with the same tasks, it returns those that are there and creates the
                others. At most 245 characters: its first request has this key, the further ones `key.2`, `key.3` …
                Without it the client makes one.

        Raises:
            ValidationFailedError: a task is wrong. Its `errors` name the index in all of `tasks`, as
                `tasks.1017.payload`.
            TaskClientError: as `create`. `created` are the summaries of the requests that went well before.

        """
        return self._run(create_many(tasks, key, self._key_of, self._repeats))

    def iter_create_many(self, tasks: Iterable[NewTask], *, key: str | None = None) -> Iterator[TaskSummary]:
        """Create tasks as `create_many`, and yield their summaries, each request being made when they are needed.

        Raises:
            TaskClientError: as `create_many`, where a request is made.

        """
        return self._iterate(create_lazily(tasks, key, self._key_of, self._repeats))

    def get(self, task_id: UUID | str) -> Task:
        """Return a task with all its fields, payload and result included.

        Raises:
            NotFoundError: no task has this id.
            ValueError: `task_id` is not a UUID.

        """
        return self._ask(calls.get(task_id), Task)

    def status(self, task_id: UUID | str) -> TaskState:
        """Return the state of a task: status, progress, attempt and times. The cheapest call about a task.

        Raises:
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.status(task_id), TaskState)

    def cancel(self, task_id: UUID | str) -> Task:
        """Cancel a task and return it: CANCELLED, or IN_PROGRESS with `cancel_requested_at` set if it is running.

        A repeat changes nothing. A running task may still end COMPLETED: `wait` returns how it ended.

        Raises:
            TaskFinishedError: it is COMPLETED or FAILED.
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.cancel(task_id), Task)

    def rerun(self, task_id: UUID | str) -> Task:
        """Run a task again that is FAILED or CANCELLED, and return it: PENDING, without its result or error.

        A repeat could run it once more, so after a request without an answer the client does not make one.

        Raises:
            ConflictError: it is neither FAILED nor CANCELLED.
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.rerun(task_id), Task)

    def update(
        self,
        task_id: UUID | str,
        *,
        priority: Priority | None = None,
        run_at: datetime | Literal["now"] | None = None,
        if_version: int | None = None,
    ) -> Task:
        """Change a task that has yet to be run, and return it. What is None stays as it is.

        Args:
            task_id: which task.
            priority: its new priority.
            run_at: not before this time (with an offset, at most a year ahead); or "now".
            if_version: change it only if it is still at this version.

        Raises:
            ConflictError: it is running or has ended.
            TaskChangedError: it is no longer at `if_version`.
            ValidationFailedError: the time is wrong, or nothing was to be changed.
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.update(task_id, priority, run_at, if_version), Task)

    def cancel_many(
        self,
        *,
        every: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[int], object] | None = None,
        **filters: Unpack[BulkFilters],
    ) -> int:
        """Cancel all tasks that meet the filters (see `BulkFilters`), and return how many were changed.

        Waiting ones are CANCELLED, running ones are asked to stop. Up to 1,000 are changed by a request; a stop in
        between (an error, Ctrl-C) leaves the others as they are, and a repeat goes on with them.

        Args:
            every: all tasks there are; required where no filter is given.
            dry_run: change nothing, and return how many tasks would be changed, at most 10,000.
            on_progress: called with the number so far after each request.
            filters: which tasks.

        Raises:
            ValidationFailedError: a filter is wrong, or there is none, or labels are empty.
            ValueError: a filter is None or an empty list: it would not filter.

        """
        return self._change_many("cancel", filters, every, dry_run, on_progress)

    def rerun_many(
        self,
        *,
        every: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[int], object] | None = None,
        **filters: Unpack[BulkFilters],
    ) -> int:
        """Run all FAILED or CANCELLED tasks again that meet the filters, and return how many: see `cancel_many`.

        Only what had ended when it began is run again, and nothing twice.

        Raises:
            ValidationFailedError, ValueError: as `cancel_many`.

        """
        return self._change_many("rerun", filters, every, dry_run, on_progress)

    def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Wait until the task is COMPLETED, FAILED or CANCELLED, and return it with all its fields.

        The service answers as soon as the task has ended. Errors that may pass (no connection, an unavailable service)
        are logged as a warning and do not end the wait, unless the service is not reached from the beginning.

        Args:
            task_id: which task.
            timeout_seconds: how long to wait at most; the last request may take a second more.

        Raises:
            WaitTimeoutError: the task has not ended in time; `last` is its last known state.
            ConnectionFailedError: the service was not reached, in as many tries as a call has.
            NotFoundError, ValueError: as `get`.

        """
        self._begin_to_wait()
        return self._run(wait(calls.as_id(task_id), timeout_seconds, self._repeats))

    def as_completed(
        self, tasks: Iterable[TaskReference], *, timeout_seconds: float | None = None
    ) -> Generator[Task, None, None]:
        """Yield tasks as they end, each once and with all its fields, however it ended.

        The service tells at once what has ended (a stream of events for each 1,000 tasks, ten at most); where there is
        no stream, tasks are looked up each second. It goes on when the service restarts.

        Args:
            tasks: ids, tasks or summaries.
            timeout_seconds: how long to wait for all of them; None waits for as long as it takes.

        Raises:
            WaitTimeoutError: some have not ended in time; `task_ids` says which.
            NotFoundError: one does not exist.
            ConnectionFailedError: the service was not reached, in as many tries as a call has.

        """
        self._begin_to_wait()
        return self._iterate(Completion(ids_of(tasks), timeout_seconds, self._repeats).run())

    def map(
        self,
        type: str,  # noqa: A002 # the name of the field
        payloads: Iterable[Mapping[str, object]],
        *,
        key: str | None = None,
        wait_seconds: float | None = None,
        **options: Unpack[TaskOptions],
    ) -> Generator[Task, None, None]:
        """Create a task of a type for each payload, and yield the tasks in this order once they have ended.

        All are created at the first step, as by `create_many`; their names are the type.

        Args:
            type: the name of the handler.
            payloads: what each task gets.
            key: as for `create_many`.
            wait_seconds: how long to wait for all of them once they are created; None waits for as long as it takes.
            options: further fields that all of them have.

        Raises:
            TaskClientError: as `create_many` and `as_completed`.

        """
        created = self.create_many(tasks_of_type(type, payloads, options), key=key)
        ids = ids_of(created)
        self._begin_to_wait()
        yield from self._iterate(in_order(ids, Completion(ids, wait_seconds, self._repeats).run()))

    @overload
    def events(self, task_id: UUID | str) -> Generator[TaskState, None, None]: ...
    @overload
    def events(self, **filters: Unpack[EventFilters]) -> Generator[TaskState, None, None]: ...
    def events(self, task_id: UUID | str | None = None, **filters: Any) -> Generator[TaskState, None, None]:
        """Yield the state of a task now and at each change up to its end; or of many tasks at each change, for ever.

        It goes on when the service restarts. Changes in quick succession may come as one; a version of a task comes
        once. Of many tasks, what changed while there was no connection is made up for.

        Args:
            task_id: the one task.
            filters: of which tasks (see `EventFilters`); with neither, of all.

        Raises:
            NotFoundError, ValueError: as `get`.
            ConnectionFailedError: the service was not reached, in as many tries as a call has.

        """
        if task_id is not None:
            return self._iterate(ChangesOfOne(calls.as_id(task_id), self._repeats).run())
        return self._iterate(ChangesOfMany(filters, self._repeats).run())

    def attempts(self, task_id: UUID | str) -> list[Attempt]:
        """Return every attempt of a task, the first one first, with errors and tracebacks; empty before the first.

        Raises:
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.attempts(task_id), ItemList[Attempt]).items

    def explain(self, task_id: UUID | str) -> Explanation:
        """Return why a task is where it is: a `sentence` for people, a `reason` to act on, and the facts.

        Raises:
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.explain(task_id), Explanation)

    def stats(self) -> Stats:
        """Return what waits, what runs and what happened in the last minutes, over all queues."""
        return self._ask(calls.look("stats"), Stats)

    def queues(self) -> list[QueueState]:
        """Return what waits and runs in each queue, by priority, and the workers that take tasks from it."""
        return self._ask(calls.look("queues"), ItemList[QueueState]).items

    def demand(self, queue: str, *, target_wait_seconds: float | None = None) -> Demand:
        """Return how many workers a queue wants, so that no task waits longer than the target; for autoscalers.

        Args:
            queue: its name.
            target_wait_seconds: how long a task may wait, 1 to 86,400; the service's default (60) if left out.

        Raises:
            ProblemError: there is no such queue, or the target is wrong.

        """
        return self._ask(calls.demand(queue, target_wait_seconds), Demand)

    def errors(self) -> list[ErrorGroup]:
        """Return the failures of the last day in groups of one kind, the most frequent first."""
        return self._ask(calls.look("errors"), ItemList[ErrorGroup]).items

    def workers(self) -> list[WorkerInfo]:
        """Return the live workers."""
        return self._ask(calls.look("workers"), ItemList[WorkerInfo]).items

    def types(self) -> list[TypeInfo]:
        """Return the types that workers offer, with the JSON Schema of their payloads."""
        return self._ask(calls.look("types"), ItemList[TypeInfo]).items

    def version(self) -> Version:
        """Return what runs there: the versions of the API, of Python and of the database's schema."""
        return self._ask(calls.look("version"), Version)

    def create_key(
        self,
        name: str,
        scopes: Iterable[Scope | str],
        *,
        owner: str | None = None,
        expires_at: datetime | None = None,
    ) -> CreatedApiKey:
        """Create a key and return it with its text, `key`, which is answered this once.

        After a request without an answer it is not repeated: `list_keys` shows whether there is one, to be revoked.

        Args:
            name: for people, what uses the key.
            scopes: what it may do; at least one, and none that the caller's own key lacks.
            owner: whom it acts for; the key's own id if left out.
            expires_at: from when on it is refused; None for never.

        Raises:
            ForbiddenError: the caller's key lacks `keys`, or a scope that is to be given.
            ValidationFailedError: a field is wrong.

        """
        return self._ask(calls.create_key(new_key(name, scopes, owner, expires_at)), CreatedApiKey)

    def list_keys(self, *, include_revoked: bool = False) -> list[ApiKey]:
        """Return the keys that are valid, without their secrets; with `include_revoked` also the revoked and expired.

        Raises:
            ForbiddenError: the caller's key lacks `keys`.

        """
        return self._ask(calls.keys(include_revoked), ItemList[ApiKey]).items

    def revoke_key(self, key_id: str) -> None:
        """Revoke a key. Within half a minute every process of the service refuses it.

        Raises:
            NotFoundError: there is no key with this id.
            ConflictError: it is the last one that may create keys (code `last_key`).
            ForbiddenError: the caller's key lacks `keys`.

        """
        self._ask(calls.revoke_key(key_id), Nothing)

    def list_audit(
        self, *, action: AuditAction | str | None = None, actor: str | None = None, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield what operators did, the newest first. A page is requested when its entries are needed.

        Args:
            action: only this kind of act.
            actor: only what the keys of this owner did.
            limit: entries on a page; the service's default if left out.

        Raises:
            ForbiddenError: the caller's key lacks `operate`.

        """
        return self._iterate(
            pages(calls.audit(given(action=action, actor=actor, limit=limit)), AuditPage, self._repeats)
        )

    def audit_page(
        self,
        *,
        action: AuditAction | str | None = None,
        actor: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AuditPage:
        """Return one page of `list_audit`; for the next one, pass its `next_cursor` as `cursor`.

        Raises:
            ValidationFailedError: the cursor is wrong.
            ForbiddenError: the caller's key lacks `operate`.

        """
        return self._ask(calls.audit(given(action=action, actor=actor, limit=limit), cursor), AuditPage)

    def pause(
        self,
        *,
        queue: str | None = None,
        type: str | None = None,  # noqa: A002 # the name of the field
        priority: Priority | None = None,
        reason: str | None = None,
        until: datetime | None = None,
        every: bool = False,
    ) -> Pause:
        """Pause tasks: from `effective_at` of what is returned until its end no task that it covers begins.

        Those that run go on. A task is covered where all that is given fits it. After a request without an answer it
        is not repeated: `list_pauses` shows whether there is one.

        Args:
            queue: tasks of this queue.
            type: tasks of this type.
            priority: tasks of this priority.
            reason: why, for whoever finds the tasks waiting; up to 500 characters.
            until: when it ends by itself; None for when it is resumed.
            every: all tasks there are; required where neither queue, type nor priority is given.

        Raises:
            ConflictError: a live worker is of a version that does not know pauses (code `pauses_not_known`).
            ForbiddenError: the caller's key lacks `operate`.
            ValidationFailedError: a field is wrong.
            ValueError: neither which tasks are meant is given, nor `every`.

        """
        return self._ask(calls.pause(new_pause(queue, type, priority, reason, until, is_all=every)), Pause)

    def list_pauses(self, *, include_ended: bool = False) -> list[Pause]:
        """Return the pauses that stand; with `include_ended` also those that are over.

        Raises:
            ForbiddenError: the caller's key lacks `operate`.

        """
        return self._ask(calls.pauses(include_ended), ItemList[Pause]).items

    def resume(self, pause_id: UUID | str) -> Pause:
        """End a pause, and return it. What it covered begins as it would have, the more urgent first.

        Raises:
            NotFoundError: no pause has this id.
            ConflictError: it was over before (code `pause_is_over`); so it is after a repeat of the client's own.
            ForbiddenError: the caller's key lacks `operate`.
            ValueError: `pause_id` is not a UUID.

        """
        return self._ask(calls.resume(pause_id), Pause)

    @overload
    def list(
        self, *, view: Literal[View.SUMMARY] = View.SUMMARY, **filters: Unpack[TaskFilters]
    ) -> Iterator[TaskSummary]: ...
    @overload
    def list(self, *, view: Literal[View.FULL], **filters: Unpack[TaskFilters]) -> Iterator[Task]: ...
    def list(self, *, view: View = View.SUMMARY, **filters: Unpack[TaskFilters]) -> Iterator[TaskSummary]:
        """Yield all tasks that meet the filters (see `TaskFilters`). A page is requested when its tasks are needed.

        Tasks created meanwhile may or may not be among them; none comes twice. An error is raised where a page is
        requested.

        Raises:
            ValidationFailedError: a filter is wrong.
            ValueError: a filter is None or an empty list: it would not filter.

        """
        return self._iterate(pages(calls.page(filters, view), page_of(view), self._repeats))

    @overload
    def page(
        self,
        *,
        view: Literal[View.SUMMARY] = View.SUMMARY,
        cursor: str | None = None,
        include_total: bool = False,
        **filters: Unpack[TaskFilters],
    ) -> TaskPage[TaskSummary]: ...
    @overload
    def page(
        self,
        *,
        view: Literal[View.FULL],
        cursor: str | None = None,
        include_total: bool = False,
        **filters: Unpack[TaskFilters],
    ) -> TaskPage[Task]: ...
    def page(
        self,
        *,
        view: View = View.SUMMARY,
        cursor: str | None = None,
        include_total: bool = False,
        **filters: Unpack[TaskFilters],
    ) -> TaskPage[Any]:
        """Return one page of the tasks that meet the filters.

        For the next page, pass its `next_cursor` as `cursor` with the same filters; None means that it is the last. A
        page may hold fewer tasks than `limit`, even none, and not be the last.

        Raises:
            ValidationFailedError: a filter or the cursor is wrong.

        """
        return self._ask(calls.page(filters, view, cursor, include_total), page_of(view))

    def health(self) -> Health:
        """Return whether the process answers, whatever the state of its database. Never repeated."""
        return self._run(ask(calls.live(), Health, NEVER))

    def ready(self) -> Health:
        """Return whether the service takes requests, with a check of each thing it depends on. Never repeated."""
        return self._run(ask(calls.ready(), Health, NEVER))

    def _begin_to_wait(self) -> None:
        """Do nothing; overridden by who wants to know that somebody waits for tasks."""

    def _key_of(self, content: bytes, given: str | None) -> str:
        """Return the key of a create with this body; `given` is the caller's own. Overridden by who derives keys."""
        del content
        return str(uuid4()) if given is None else given

    def _change_many(
        self,
        verb: Literal["cancel", "rerun"],
        filters: Mapping[str, object],
        every: bool,
        dry_run: bool,
        on_progress: Callable[[int], object] | None,
    ) -> int:
        look = calls.change_many(verb, filters, is_all=every, is_dry_run=True)
        if dry_run:
            return self._run(count(look, self._repeats))
        change = calls.change_many(verb, filters, is_all=every, is_dry_run=False)
        begin = look if verb == "rerun" else None
        return self._run(change_many(begin, change, self._repeats, on_progress))

    def _ask(self, call: Call, model: type[Model]) -> Model:
        return self._run(ask(call, model, self._repeats))

    def _run(self, flow: Flow[Result]) -> Result:
        with closing(Streams(self._http)) as streams:
            step = advance(flow, None)
            while not isinstance(step, Done):
                step = advance(flow, self._do(step, streams))
            return step.result

    def _iterate(self, flow: Flow[None]) -> Generator[Any, None, None]:
        with closing(flow), closing(Streams(self._http)) as streams:
            step = advance(flow, None)
            while not isinstance(step, Done):
                if isinstance(step, Emit):
                    yield step.item
                step = advance(flow, self._do(step, streams))

    def _do(self, step: Step, streams: Streams) -> StepOutcome:
        match step:
            case Send():
                return self._send(step)
            case Wait(seconds):
                time.sleep(seconds)
            case Listen(stream, call):
                streams.listen(stream, stream_options(call, self._timeout_seconds))
            case Hear(seconds):
                return streams.hear(seconds)
            case Unlisten(stream):
                streams.unlisten(stream)
            case Emit():
                pass  # the caller has it
            case _:
                assert_never(step)
        return None

    def _send(self, send: Send) -> StepOutcome:
        try:
            return self._http.request(**request_options(send, self._timeout_seconds))
        except httpx2.RequestError as error:
            return error
