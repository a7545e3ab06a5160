"""The messages between a worker and the processes of its handlers.

The worker sends a `ChildSetup`, then one `ChildRequest` after the other. The process answers the setup with `Ready`, or
with a `Failed` if the handlers cannot be loaded, and a request with `Begun`, reports of progress and, last, a
`ChildAnswer`. A `ChildCheckpoint` among them gets a `ChildCheckpointAnswer` from the worker.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from task_runtime import LogFormat, LogLevel
from task_worker.attempt.outcome import HandlerOutcome
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.context import TaskDetails
from task_worker.places import Places

SIZE_BYTES = 4
"""How many bytes before a message say its length."""


def _search_path() -> tuple[str, ...]:
    return tuple(entry or str(Path.cwd()) for entry in sys.path)


@dataclass(frozen=True)
class ChildSetup:
    """How every process is set up: where its handlers are, how it logs, and where it looks for modules.

    Without `search_path` it looks where the worker does when this is made.
    """

    handlers_place: Places | None
    log_level: LogLevel
    log_format: LogFormat
    search_path: tuple[str, ...] = field(default_factory=_search_path)


@dataclass(frozen=True)
class ChildRequest:
    """One attempt to run. `log_fields` stand on every line that is logged meanwhile."""

    details: TaskDetails
    payload_text: str
    log_fields: dict[str, Any]


@dataclass(frozen=True)
class Ready:
    """The process has loaded its handlers."""


@dataclass(frozen=True)
class Begun:
    """The process has taken the request: an end of it is from now on the handler's."""


@dataclass(frozen=True)
class ChildCheckpoint:
    """What the handler keeps, as JSON; None keeps nothing. `number` is another one for each in this process."""

    number: int
    text: str | None


@dataclass(frozen=True)
class ChildCheckpointAnswer:
    """What became of the checkpoint of that number."""

    number: int
    outcome: CheckpointOutcome


@dataclass(frozen=True)
class ChildAnswer:
    """How an attempt went, and whether the process may run another one: nothing of this one is left in it."""

    outcome: HandlerOutcome
    is_clean: bool


def framed(message: object) -> bytes:
    """Return the bytes of a message in a pipe: its length, then its pickle."""
    body = pickle.dumps(message)
    return len(body).to_bytes(SIZE_BYTES, "big") + body
