"""Keeps code of users from cancelling asyncio tasks that are not its own.

`asyncio.all_tasks()` shows code on the event loop the tasks of the whole process, and code that winds itself down likes
to cancel them all. Here that is an error of this code and hurts nobody else.

**Invariants**

- Every task has the owner whose code created it: that of `owned_by`, or none for the process itself.
- Code of an owner cancels only tasks of that owner; the process's own code cancels any.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

from task_runtime.forks import forks_end_here

Value = TypeVar("Value")

_AT_ONCE: dict[str, bool] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_log = logging.getLogger(__name__)

_owner: ContextVar[object] = ContextVar("owner", default=None)


class NotYourTaskError(RuntimeError):
    """Code has tried to cancel an asyncio task that it did not create."""


class owned_by:  # noqa: N801 # a context manager; as a generator it would cost each attempt some microseconds
    """Let what runs in this block, and what it starts (tasks, callbacks, threads with its context), be `owner`'s."""

    __slots__ = ("_owner", "_token")

    def __init__(self, owner: object) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._token = _owner.set(self._owner)

    def __exit__(self, *_: object) -> None:
        _owner.reset(self._token)


def owner_of(task: asyncio.Task[Any] | None) -> object:
    """Return the owner whose code created `task`; None for the process itself, and for no task."""
    return getattr(task, "owner", None)


def guard_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Guard the tasks that are created on `loop` from now on."""
    loop.set_task_factory(_make_task)


class _GuardedTask(asyncio.Task[Any]):
    __slots__ = ("owner",)  # without a dict each, which the collector would have to visit
    owner: object

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel this task, unless the code that asks is somebody's and the task is not.

        Raises:
            NotYourTaskError: in that code. A callback, or a cancel that is passed on from a task that waits for this
                one, is refused with False: an exception would hit whoever called.

        """
        owner = _owner.get()
        if owner is None or owner is self.owner:
            return super().cancel(msg)
        if asyncio.current_task() is not None:
            raise NotYourTaskError("code may not cancel asyncio tasks that it did not create")
        _log.warning("cancel_refused", extra={"task": self.get_name()})
        return False


def start_task(coroutine: Coroutine[Any, Any, Value], *, name: str | None = None) -> asyncio.Task[Value]:
    """Run a coroutine as a guarded task of the running event loop; its first step at once, where Python can (3.12).

    What ends in its first step is never scheduled. A child that is forked in it ends where it would go on here.
    """
    with forks_end_here():
        return _make_task(asyncio.get_running_loop(), coroutine, name=name, **_AT_ONCE)


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    task = _GuardedTask.__new__(_GuardedTask)
    task.owner = _owner.get()  # before its first step, in which it may cancel something already
    task.__init__(coroutine, loop=loop, **options)  # type: ignore[misc]
    return task
