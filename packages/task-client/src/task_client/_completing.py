"""Decides how the ends of many tasks are waited for: by streams of events, and by lists where those are silent. No I/O.

**Invariants**: a stream only says which tasks may have ended; what is emitted was read from a list, and each task once.
From the moment a stream lives, what ended before it is looked up; so nothing is lost when it is cut and opened again.
Each second, tasks that no living stream watches are looked up.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from uuid import UUID

import httpx2
from pydantic import ValidationError

from task_client import _calls as calls
from task_client._answers import Model, no_answer, read
from task_client._call import Call
from task_client._errors import NotFoundError, TaskClientError, WaitTimeoutError
from task_client._flows import ask_once
from task_client._repeats import Patience, RepeatPolicy
from task_client._steps import SILENT_SECONDS, Emit, Flow, Hear, Listen, StreamNews, Unlisten, Wait
from task_contracts import BackOff, Problem, ProblemCode, Task, TaskPage, TaskState, TaskStatus, TaskSummary, View

IDS_OF_A_STREAM = 1_000
STREAMS_MAX = 10
RESET = "reset"
"""The event after which changes may have been missed."""
_LOOK_SECONDS = 1.0
_REOPENING = BackOff(first_seconds=2.0, longest_seconds=2.0, jitter=0.5)
"""As the service asks for by `retry`."""
_IDS_OF_A_LOOK = 500
_GATHERED_MAX = 100
_NEWS_MAX = 1_000
_TERMINAL = tuple(status for status in TaskStatus if status.is_terminal)
_PAGE_TASKS = 200


@dataclass
class _Watch:
    """A stream and the tasks that it watches. It lives from the first thing that it says."""

    stream: int
    ids: set[UUID]
    heard_at: float | None = None
    reopens_at: float | None = 0.0
    """When it is to be opened, for the first time or again; None while it is open."""

    def lives(self, now: float) -> bool:
        return self.reopens_at is None and self.heard_at is not None and now - self.heard_at < SILENT_SECONDS


class Completion:
    """Emits each of some tasks, whole, once it is terminal."""

    def __init__(
        self,
        ids: Iterable[UUID],
        timeout_seconds: float | None,
        repeats: RepeatPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = dict.fromkeys(ids)
        self._unwatched = deque(self._open)
        self._timeout_seconds = math.inf if timeout_seconds is None else timeout_seconds
        self._clock = clock
        self._end = clock() + self._timeout_seconds
        self._patience = Patience(repeats)
        self._watches: dict[int, _Watch] = {}
        self._streams = 0
        self._look_at = clock() + _LOOK_SECONDS
        self._looked = 0
        self._due: set[UUID] = set()
        """Tasks to look up now: their stream has just come to life, or has lost its place."""

    def run(self) -> Flow[None]:
        """Go on until every task was emitted.

        Raises:
            WaitTimeoutError: some have not ended in time.
            NotFoundError: a task does not exist.
            TaskClientError: an error that does not pass by itself, or the service was never reached.

        """
        while self._open:
            yield from self._listen()
            ended = yield from self._hear()
            yield from self._fetch(ended)
            due, self._due = self._due, set()
            yield from self._look(due)
            if self._clock() >= self._look_at:
                yield from self._look(set(self._unwatched_slice()))
                self._look_at = self._clock() + _LOOK_SECONDS
            if self._open and self._clock() >= self._end:
                raise WaitTimeoutError(tuple(self._open), self._timeout_seconds)

    def _listen(self) -> Flow[None]:
        """Open the streams that are wanted, and close those that are not."""
        for watch in list(self._watches.values()):
            watch.ids &= self._open.keys()
            if not watch.ids or (self._unwatched and len(watch.ids) <= IDS_OF_A_STREAM // 2):
                self._unwatched.extendleft(watch.ids)
                del self._watches[watch.stream]
                yield Unlisten(watch.stream)
        while self._unwatched and len(self._watches) < STREAMS_MAX:
            ids = {self._unwatched.popleft() for _ in range(min(IDS_OF_A_STREAM, len(self._unwatched)))}
            if ids := ids & self._open.keys():
                self._streams += 1
                self._watches[self._streams] = _Watch(self._streams, ids)
        for watch in self._watches.values():
            if watch.reopens_at is not None and watch.reopens_at <= self._clock():
                watch.reopens_at = watch.heard_at = None
                yield Listen(watch.stream, calls.events({"id": sorted(watch.ids)}))

    def _hear(self) -> Flow[set[UUID]]:
        """Return the tasks that have ended, as the streams say: of one event, and of all that came with it."""
        ended: set[UUID] = set()
        seconds = 0.0 if self._due else max(0.0, min(self._look_at, self._end) - self._clock())
        for _ in range(_NEWS_MAX):  # then it is time to look at the clock
            news = yield Hear(seconds)
            if not isinstance(news, StreamNews):
                break
            ended |= self._note(news)
            if len(ended) >= _GATHERED_MAX:
                break
            seconds = 0.0
        return ended

    def _note(self, news: StreamNews) -> set[UUID]:
        watch = self._watches.get(news.stream)
        if watch is None:
            return set()
        if news.is_over:
            watch.reopens_at = self._clock() + self._pause_after(news, watch)
            return set()
        if watch.heard_at is None:
            self._due |= watch.ids
        watch.heard_at = self._clock()
        if news.event is None:
            return set()
        if news.event.event == RESET:
            self._due |= watch.ids
        state = state_of(news.event)
        return {state.id} if state is not None and state.status.is_terminal and state.id in self._open else set()

    def _pause_after(self, news: StreamNews, watch: _Watch) -> float:
        """Return the seconds until a stream is opened again. What is wrong with the service itself, the lists say."""
        asked = trouble(news, calls.events({}))
        if asked is None:
            return reopening_seconds() if watch.heard_at is not None else _LOOK_SECONDS
        return max(asked.retry_after or 0.0, _LOOK_SECONDS if asked.is_transient else math.inf)

    def _unwatched_slice(self) -> Iterator[UUID]:
        """Return some of the tasks that no living stream watches, others each time."""
        now = self._clock()
        watched = {one for watch in self._watches.values() if watch.lives(now) for one in watch.ids}
        silent = [one for one in self._open if one not in watched]
        if self._looked >= len(silent):
            self._looked = 0
        begin, self._looked = self._looked, self._looked + _IDS_OF_A_LOOK
        return islice(silent, begin, self._looked)

    def _look(self, ids: set[UUID]) -> Flow[None]:
        """Read the states of tasks, and emit those that have ended."""
        for group in calls.in_queries(ids & self._open.keys()):
            found: dict[UUID, TaskSummary] = {}
            call: Call | None = calls.page({"id": group, "limit": _PAGE_TASKS}, View.SUMMARY)
            while call is not None:
                page: TaskPage[TaskSummary] = yield from self._ask(call, TaskPage[TaskSummary])
                found |= {item.id: item for item in page.items}
                call = calls.after(call, page.next_cursor) if page.next_cursor else None
            if missing := [one for one in group if one not in found]:
                raise _not_found(missing[0])
            yield from self._fetch({one for one, item in found.items() if item.status.is_terminal})

    def _fetch(self, ids: set[UUID]) -> Flow[None]:
        """Read whole tasks, and emit those that are terminal: a caller may have asked for a RERUN in between."""
        for group in calls.in_queries(ids & self._open.keys()):
            call: Call | None = calls.page({"id": group, "status": _TERMINAL, "limit": _PAGE_TASKS}, View.FULL)
            while call is not None:
                page: TaskPage[Task] = yield from self._ask(call, TaskPage[Task])
                for task in page.items:
                    if task.id in self._open:
                        del self._open[task.id]
                        yield Emit(task)
                call = calls.after(call, page.next_cursor) if page.next_cursor else None

    def _ask(self, call: Call, model: type[Model]) -> Flow[Model]:
        while True:
            try:
                answer = yield from ask_once(call, model, self._end - self._clock())
            except TaskClientError as error:
                pause = self._patience.failed(error)
                left = self._end - self._clock()
                if left <= 0:
                    raise WaitTimeoutError(tuple(self._open), self._timeout_seconds) from error
                yield Wait(min(pause, left))
            else:
                self._patience.answered()
                return answer


def reopening_seconds() -> float:
    """Return the seconds until a stream that ended by itself is opened again: others may do so at the same moment."""
    return _REOPENING.pause_seconds(1)


def state_of(event: httpx2.ServerSentEvent) -> TaskState | None:
    """Return the state of a task that an event tells; None for `RESET`, and for what cannot be read as a state."""
    try:
        return TaskState.model_validate_json(event.data)
    except ValidationError:
        return None


def trouble(news: StreamNews, call: Call) -> TaskClientError | None:
    """Return the error that ended a stream; None if it has ended by itself."""
    if news.error is not None:
        return no_answer(news.error, call)
    if news.response is None:
        return None
    try:
        read(news.response, call, TaskState)
    except TaskClientError as error:
        return error
    return None


def in_order(ids: Iterable[UUID], completion: Flow[None]) -> Flow[None]:
    """Emit the tasks of a completion in the order of `ids`."""
    wanted = deque(dict.fromkeys(ids))
    ended: dict[UUID, Task] = {}
    try:
        step = next(completion)
        while True:
            if not isinstance(step, Emit):
                step = completion.send((yield step))
                continue
            ended[step.item.id] = step.item
            while wanted and wanted[0] in ended:
                yield Emit(ended.pop(wanted.popleft()))
            step = next(completion)
    except StopIteration:
        return


def _not_found(task_id: UUID) -> NotFoundError:
    problem = Problem(
        title="Not Found",
        status=HTTPStatus.NOT_FOUND,
        detail=f"no task has the id {task_id}",
        code=ProblemCode.TASK_NOT_FOUND,
    )
    return NotFoundError(problem, None, is_repeat_safe=True)
