"""The synchronous client: one method for each call of the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
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


class TaskClient:
    """A client of the task service. It holds a pool of connections: keep it, share it between threads, close it.

    Args:
        base_url: the address of the service, such as `http://127.0.0.1:9000`; a path in it is kept.
        timeout_seconds: how long connecting, sending, and each read of a request may take.
        repeats: how often, and after which pauses, calls that only read are repeated; up to three tries by default.
        transport: an httpx2 transport, such as `MockTransport` in a test, or one with a proxy or a CA of your own.

    Every method raises a `TaskClientError`. Calls that only read are repeated where the service cannot be reached or
    says that it is unavailable.

    Raises:
        ValueError: `base_url` does not begin with http:// or https://, or names no host.

    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        repeats: RepeatPolicy | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._repeats = repeats or RepeatPolicy()
        self._http = httpx2.Client(**client_options(base_url, timeout_seconds), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._http.close()

    def create(self, task: TaskCreate, *, key: str | None = None) -> Task:
        """Create a task and return it as stored. Once this returns, the task cannot be lost.

        A repeat creates another task, so the client never repeats this by itself. After an error whose `is_repeat_safe`
        is false, the task may or may not exist.

        Args:
            task: what to create.
            key: the Idempotency-Key of this create; without it the client makes one.

        Raises:
            ValidationFailedError: a field is wrong, or the queue does not exist.
            ProblemError: the service refuses it for another reason, such as its size.
            NoAnswerError, UnavailableError, UnexpectedAnswerError: see there.

        """
        return self._ask(self._keyed(calls.create(task), key), Task)

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

    def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Wait until the task is COMPLETED, FAILED or CANCELLED, and return it with all its fields.

        Asks for its state again and again, after 0.05 s at first and every 1 s later. Errors that may pass (no
        connection, an unavailable service) do not end the wait.

        Args:
            task_id: which task.
            timeout_seconds: how long to wait at most; the last request may take a second more.

        Raises:
            WaitTimeoutError: the task has not ended in time; `last` is its last known state.
            NotFoundError, ValueError: as `get`.

        """
        return self._run(wait(UUID(str(task_id)), timeout_seconds))

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

        """
        call = calls.page(filters, view)
        while True:
            page = self._page(call, view)
            yield from page.items
            if page.next_cursor is None:
                return
            call = calls.after(call, page.next_cursor)

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
        return self._page(calls.page(filters, view, cursor, include_total), view)

    def health(self) -> Health:
        """Return whether the process answers, whatever the state of its database. Never repeated."""
        return self._ask(calls.live(), Health)

    def ready(self) -> Health:
        """Return whether the service takes requests, with a check of each thing it depends on. Never repeated."""
        return self._ask(calls.ready(), Health)

    def _new_key(self, content: bytes) -> str:
        """Return a key for a create that was given none; `content` is its body. Overridden by who derives keys."""
        del content
        return str(uuid4())

    def _given_key(self, key: str) -> str:
        """Return the key to send where a create was given this one. Overridden by who keeps keys of callers apart."""
        return key

    def _keyed(self, call: Call, key: str | None) -> Call:
        return replace(call, key=self._new_key(call.content or b"") if key is None else self._given_key(key))

    def _page(self, call: Call, view: View) -> TaskPage[Any]:
        return self._ask(call, TaskPage[Task] if view is View.FULL else TaskPage[TaskSummary])

    def _ask(self, call: Call, model: type[Model]) -> Model:
        return self._run(ask(call, model, self._repeats))

    def _run(self, flow: Flow[Result]) -> Result:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, self._do(step))
        return step.result

    def _do(self, step: Send | Wait) -> StepOutcome:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.request(**request_options(step, self._timeout_seconds))
        except httpx2.RequestError as error:
            return error
