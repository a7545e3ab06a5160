"""The synchronous client: a list of verbs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload
from uuid import UUID

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
    """A client of the task service, to be kept and closed: it holds a pool of connections. Safe to share by threads.

    Args:
        base_url: where the service is, such as `http://127.0.0.1:9000`; a path in it is kept.
        timeout_seconds: how long connecting, sending, and each read of a request may take.
        repeats: how often, and after which pauses, calls that only read are repeated; up to three tries by default.
        transport: an httpx2 transport, such as `MockTransport` in a test, or one with a proxy or a CA of your own.

    Every verb raises a `TaskClientError`. Calls that only read are repeated where the service cannot be reached or says
    that it is unavailable.

    Raises:
        ValueError: `base_url` is none.

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

    def create(self, task: TaskCreate) -> Task:
        """Create a task and return it as the service keeps it: once this returns, it is not lost.

        A repeat creates another task. So this is never repeated by itself; an error with `is_repeat_safe` false means
        that the task may or may not exist.

        Raises:
            ValidationFailedError: the service refuses it, such as for a queue that does not exist.
            ProblemError: it is too large, say.
            NoAnswerError, UnavailableError, UnexpectedAnswerError: see there.

        """
        return self._ask(calls.create(task), Task)

    def get(self, task_id: UUID | str) -> Task:
        """Return a task, whole.

        Raises:
            NotFoundError: there is none of this id.
            ValueError: `task_id` is no UUID.

        """
        return self._ask(calls.get(task_id), Task)

    def status(self, task_id: UUID | str) -> TaskState:
        """Return how far a task has come: the cheapest answer there is.

        Raises:
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.status(task_id), TaskState)

    def cancel(self, task_id: UUID | str) -> Task:
        """Cancel a task and return it: CANCELLED, or IN_PROGRESS with `cancel_requested_at` set where it runs.

        A repeat changes nothing. A running task may still end COMPLETED; `wait` tells.

        Raises:
            TaskFinishedError: it is COMPLETED or FAILED.
            NotFoundError, ValueError: as `get`.

        """
        return self._ask(calls.cancel(task_id), Task)

    def wait(self, task_id: UUID | str, timeout_seconds: float) -> Task:
        """Return the task once it is COMPLETED, FAILED or CANCELLED; look every 0.05 s at first, every 1 s later.

        Trouble that may pass (no connection, an unavailable service) does not end the waiting.

        Args:
            task_id: which task.
            timeout_seconds: how long to wait at most; the last request may take a second more.

        Raises:
            WaitTimeoutError: it has not come to its end; `last` is its last known state.
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
        """Yield all tasks that meet the filters (see `TaskFilters`), asking for page after page as they are taken.

        Tasks created meanwhile may or may not be among them; none comes twice. Errors come where a page is asked for.

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

        `next_cursor` of the answer, given as `cursor` with the same filters, continues it; None ends it. A page may be
        short, even empty, and still continue.

        Raises:
            ValidationFailedError: a filter or the cursor is wrong.

        """
        return self._page(calls.page(filters, view, cursor, include_total), view)

    def health(self) -> Health:
        """Return whether the process answers, whatever its database does. Asks once."""
        return self._ask(calls.live(), Health)

    def ready(self) -> Health:
        """Return whether the service takes requests, and how each thing is that it stands on. Asks once."""
        return self._ask(calls.ready(), Health)

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
