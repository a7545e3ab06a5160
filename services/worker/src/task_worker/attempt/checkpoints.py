"""The checkpoints of one attempt: taken from its code in whatever thread, stored one after the other.

**Invariants**

- They are stored in the order in which they came. Of those that wait together only the last is sent; the others are
  stored with it, since each stands for all before it.
- Every call gets its outcome: within the deadlines of a few statements after a stop, at once after an urgent one. A
  thread that waits for the database must not keep its worker from letting go of the task.
- What runs here is the worker's, though the user's code called: that code cannot cancel the asyncio tasks of the store.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any, TypeAlias

from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.lease.in_flight import Attempt

WriteCheckpoint: TypeAlias = Callable[[Attempt, str | None], Coroutine[Any, Any, CheckpointOutcome]]
"""Writes a JSON text for an attempt, trying again until it is stored or the attempt is stopped."""

_Future: TypeAlias = "futures.Future[CheckpointOutcome]"


class Checkpoints:
    """Stores for one attempt. Make it on the event loop, in the context of the worker's own code.

    Args:
        attempt: whose code calls `store`.
        write: writes one.
        spawn: runs a coroutine in the background.

    """

    def __init__(
        self, attempt: Attempt, write: WriteCheckpoint, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._attempt = attempt
        self._write = write
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._text: str | None = None
        self._waiting: list[_Future] = []
        """Those whose text, or a later one, has yet to be sent: it is `_text`."""
        self._under_way: list[_Future] = []
        self._is_writing = False
        self._is_used = False

    def store(self, text: str | None) -> _Future:
        """Begin to store a JSON text; None keeps nothing. Safe from any thread."""
        future: _Future = futures.Future()
        future.set_running_or_notify_cancel()  # a caller that gives up takes nothing back
        try:
            self._loop.call_soon_threadsafe(self._add, text, future, context=self._context)
        except RuntimeError:  # the worker has ended, and this thread was left behind
            future.set_result(CheckpointOutcome.STOPPED)
        return future

    def _add(self, text: str | None, future: _Future) -> None:
        self._text = text
        self._waiting.append(future)
        if not self._is_used:
            self._is_used = True
            self._attempt.on_stop(self._end_if_urgent)
        self._end_if_urgent()
        if self._waiting and not self._is_writing:
            self._is_writing = True
            self._spawn(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                self._under_way, self._waiting = self._waiting, []
                outcome = await self._write(self._attempt, self._text)
                answered, self._under_way = self._under_way, []
                _answer(answered, outcome)
        finally:
            self._is_writing = False
            self._end()  # those that are left, where the event loop ends

    def _end_if_urgent(self) -> None:
        if self._attempt.is_urgent:
            self._end()

    def _end(self) -> None:
        ended = self._under_way + self._waiting
        self._under_way, self._waiting = [], []
        _answer(ended, CheckpointOutcome.STOPPED)


def _answer(answered: list[_Future], outcome: CheckpointOutcome) -> None:
    for future in answered:
        future.set_result(outcome)
