"""Decides how a caller is told of changes: the stream of one task, or of many, read on over cuts. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx2

from task_client import _calls as calls
from task_client._call import Call
from task_client._completing import RESET, reopening_seconds, state_of, trouble
from task_client._flows import ask, for_each, pages
from task_client._repeats import Patience, RepeatPolicy
from task_client._steps import SILENT_SECONDS, Emit, Flow, Hear, Listen, StreamNews, Unlisten, Wait
from task_contracts import TaskPage, TaskState, TaskStatus, TaskSummary, View

_STREAM = 1
_LOOK_SECONDS = 1.0
_REMEMBERED_MAX = 10_000
"""Tasks whose latest version is kept, to tell a repeated event from a new one."""
_ACTIVE = tuple(status for status in TaskStatus if not status.is_terminal)


class Changes(ABC):
    """Emits the state of tasks at each change. A version of a task that is told twice is emitted once."""

    def __init__(self, repeats: RepeatPolicy) -> None:
        self._repeats = repeats
        self._patience = Patience(repeats)
        self._versions: OrderedDict[UUID, int] = OrderedDict()
        self._last_event_id: str | None = None
        self._is_over = False

    def run(self) -> Flow[None]:
        """Open one stream after the other, each from where the last one ended, until all is told.

        Raises:
            TaskClientError: an error that does not pass by itself, or the service was never reached.

        """
        while not self._is_over:
            call = self._call()
            yield Listen(_STREAM, call)
            yield from self._read(call)
            yield Unlisten(_STREAM)

    def _read(self, call: Call) -> Flow[None]:
        """Show what one stream says, until it is over or dead."""
        lives = False
        while not self._is_over:
            news = yield Hear(SILENT_SECONDS if lives else _LOOK_SECONDS)
            if not isinstance(news, StreamNews):
                if lives:
                    return
                yield from self._look_while_silent()
                continue
            if news.is_over:
                error = trouble(news, call)
                if error is not None:
                    yield Wait(self._patience.failed(error))
                else:
                    yield Wait(reopening_seconds() if lives else _LOOK_SECONDS)
                return
            self._patience.answered()
            lives = True
            if news.event is not None:
                yield from self._tell(news.event)

    def _tell(self, event: httpx2.ServerSentEvent) -> Flow[None]:
        self._last_event_id = event.id or self._last_event_id
        state = state_of(event)
        if state is not None:
            yield from self._show(state)
        elif event.event == RESET:
            self._versions.clear()
            yield from self._look_after_reset()

    def _show(self, state: TaskState) -> Flow[None]:
        if self._versions.get(state.id, 0) >= state.version:
            return
        self._versions[state.id] = state.version
        self._versions.move_to_end(state.id)
        if len(self._versions) > _REMEMBERED_MAX:
            self._versions.popitem(last=False)
        yield Emit(state)

    @abstractmethod
    def _call(self) -> Call: ...

    @abstractmethod
    def _look_while_silent(self) -> Flow[None]: ...

    @abstractmethod
    def _look_after_reset(self) -> Flow[None]: ...


class ChangesOfOne(Changes):
    """The changes of one task, up to its end. While its stream has yet to say something, its state is read."""

    def __init__(self, task_id: UUID, repeats: RepeatPolicy) -> None:
        super().__init__(repeats)
        self._task_id = task_id

    def _call(self) -> Call:
        return calls.events_of_one(self._task_id, self._last_event_id)

    def _show(self, state: TaskState) -> Flow[None]:
        self._is_over = state.status.is_terminal
        yield from super()._show(state)

    def _look_while_silent(self) -> Flow[None]:
        state = yield from ask(calls.status(self._task_id), TaskState, self._repeats)
        yield from self._show(state)

    def _look_after_reset(self) -> Flow[None]:
        yield from self._look_while_silent()


class ChangesOfMany(Changes):
    """The changes of many tasks, without an end. After a gap, the present state of those that have not ended."""

    def __init__(self, filters: Mapping[str, Any], repeats: RepeatPolicy) -> None:
        super().__init__(repeats)
        asked = filters.get("id")
        self._ids = () if asked is None else (asked,) if isinstance(asked, str | UUID) else tuple(asked)
        self._filters = {**filters, "id": self._ids} if self._ids else filters
        wanted = filters.get("status", _ACTIVE)
        wanted = {wanted} if isinstance(wanted, str) else {*wanted}
        self._statuses = tuple(status for status in _ACTIVE if status in wanted)

    def _call(self) -> Call:
        return calls.events(self._filters, self._last_event_id)

    def _look_while_silent(self) -> Flow[None]:
        yield from ()

    def _look_after_reset(self) -> Flow[None]:
        if not self._statuses:
            return
        for group in calls.in_queries(self._ids) or [()]:
            active = {**self._filters, "status": self._statuses, **({"id": group} if group else {})}
            listed = pages(calls.page(active, View.SUMMARY), TaskPage[TaskSummary], self._repeats)
            yield from for_each(listed, self._show)
