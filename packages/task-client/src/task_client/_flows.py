"""Decides for both clients when a call is sent, when it is repeated and how pages follow one another. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import httpx2

from task_client import _calls as calls
from task_client._answers import Model, no_answer, read
from task_client._call import Call
from task_client._errors import TaskClientError
from task_client._repeats import RepeatPolicy, log_trouble
from task_client._steps import Emit, Flow, Send, Wait
from task_contracts import AuditPage, Task, TaskPage, TaskSummary, View

Item = TypeVar("Item")

_DROPPED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, httpx2.CloseError)
"""How a kept connection ends that the service, or something on the way, has closed while it was idle."""
_SHORTEST_REQUEST_SECONDS = 1.0
_LOGGED_FROM = 2
"""Tries that failed in a row. One alone is no news."""


def ask(call: Call, model: type[Model], repeats: RepeatPolicy) -> Flow[Model]:
    """Make one call, and repeat it after a pause where it may be repeated and that may help.

    A connection that was dropped costs a call that reads, or may be repeated, one more request: at once, not counted.

    Raises:
        TaskClientError: the one of the last try.

    """
    tries, is_drop_excused = 0, call.is_repeated or call.method == "GET"
    while True:
        tries += 1
        try:
            return (yield from ask_once(call, model))
        except TaskClientError as error:
            if is_drop_excused and isinstance(error.__cause__, _DROPPED):
                tries, is_drop_excused = tries - 1, False
                continue
            may_repeat = call.is_repeated or error.is_repeat_safe
            pause = repeats.pause_seconds(error, tries) if may_repeat else None
            if pause is None:
                raise
            if tries == _LOGGED_FROM:
                log_trouble(error)
        yield Wait(pause)


def ask_once(call: Call, model: type[Model], left_seconds: float = math.inf) -> Flow[Model]:
    """Make one call, once, within the seconds that are left or a little more.

    Raises:
        TaskClientError: see there.

    """
    outcome = yield Send(call, max(left_seconds, _SHORTEST_REQUEST_SECONDS))
    if isinstance(outcome, httpx2.RequestError):
        raise no_answer(outcome, call) from outcome
    return read(cast("httpx2.Response", outcome), call, model)  # only a wait has no outcome


def pages(call: Call, model: type[TaskPage[Any]] | type[AuditPage], repeats: RepeatPolicy) -> Flow[None]:
    """Emit the items of a page and of all that follow, each page asked for when its items are needed."""
    while True:
        page: TaskPage[Any] | AuditPage = yield from ask(call, model, repeats)
        for item in page.items:
            yield Emit(item)
        if page.next_cursor is None:
            return
        call = calls.after(call, page.next_cursor)


def page_of(view: View) -> type[TaskPage[Any]]:
    """Return the model of a page with this view."""
    return TaskPage[Task] if view is View.FULL else TaskPage[TaskSummary]


def collect(flow: Flow[None], items: list[Item]) -> Flow[None]:
    """Go through a flow, and put what it emits into `items`."""

    def keep(item: Item) -> Flow[None]:
        items.append(item)
        yield from ()

    yield from for_each(flow, keep)


def for_each(flow: Flow[None], then: Callable[[Item], Flow[None]]) -> Flow[None]:
    """Go through a flow, and in the place of each item that it emits go through what `then` makes of it."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Emit):
                yield from then(step.item)
                step = next(flow)
            else:
                step = flow.send((yield step))
    except StopIteration:
        return
