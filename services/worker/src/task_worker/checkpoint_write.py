"""One checkpoint of a handler on its way to the database, for code on an event loop and for code that is on none.

`Context.checkpoint` has one name for both. On an event loop, blocking would stop every other handler, so there it
returns something to await, and nothing is stored before it is awaited. Anywhere else (a thread, a process) it has been
stored when it returns.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Generator
from concurrent import futures
from enum import StrEnum
from typing import Any, TypeAlias

from task_contracts import UnstorableJsonError, limits
from task_worker.exceptions import TaskCancelled, UnstorableCheckpointError
from task_worker.json_text import json_text


class CheckpointOutcome(StrEnum):
    """Whether a checkpoint was stored."""

    STORED = "stored"
    REFUSED = "refused"
    """The database refuses it."""
    STOPPED = "stopped"
    """The attempt was stopped before it was stored, or has ended, or the task is no longer this worker's."""


StoreCheckpoint: TypeAlias = Callable[[str | None], "futures.Future[CheckpointOutcome]"]
"""Begins to store a JSON text, from any thread; None keeps nothing. The future always gets its outcome."""


class CheckpointWrite(Awaitable[None]):
    """A checkpoint that is stored once this is awaited, or was stored before `Context.checkpoint` returned it.

    Awaiting it again changes nothing.

    Args:
        value: what to keep; JSON is made of it at once.
        store: begins to store it.

    Raises:
        UnstorableCheckpointError: `value` cannot be stored.

    """

    def __init__(self, value: object, store: StoreCheckpoint) -> None:
        self._is_begun = True  # until there is something to store
        try:
            self._text = json_text(value, limits.CHECKPOINT_BYTES)
        except UnstorableJsonError as error:
            raise UnstorableCheckpointError(str(error)) from error
        self._store = store
        self._is_begun = False

    def wait(self) -> None:
        """Block until it is stored. Errors as for `Context.checkpoint`."""
        self._is_begun = True
        _require_stored(self._store(self._text).result())

    def __await__(self) -> Generator[Any, None, None]:
        if not self._is_begun:
            self._is_begun = True
            _require_stored((yield from asyncio.wrap_future(self._store(self._text)).__await__()))

    def __del__(self) -> None:
        if not self._is_begun:
            text = "context.checkpoint(…) was not awaited, so nothing was stored: an async handler must await it"
            warnings.warn(text, RuntimeWarning, stacklevel=2, source=self)  # the line that dropped it


def is_on_event_loop() -> bool:
    """Return whether an event loop runs in this thread, so that blocking would stop it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _require_stored(outcome: CheckpointOutcome) -> None:
    if outcome is CheckpointOutcome.REFUSED:
        raise UnstorableCheckpointError("the database refuses it")
    if outcome is CheckpointOutcome.STOPPED:
        raise TaskCancelled
