"""What travels over the broker: hints which name rows. The rows say what is true; losing a message loses nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from task_contracts import _limits as limits
from task_contracts._schemas import QueueName


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    v: Literal[1] = 1


class DueTasks(_Message):
    """Tasks of one broker queue that are due: "look at these rows"."""

    ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=limits.MESSAGE_IDS_MAX)]


class SignalKind(StrEnum):
    """What a signal is about."""

    DUE = "due"
    """Something became due: the leader looks at once instead of at its next turn."""
    CHANGED = "changed"
    """Tasks changed: whoever waits for one of them reads it again."""
    CANCEL = "cancel"
    """A caller wants these running tasks stopped: their worker reads its rows at once."""


class Signal(_Message):
    """A hint to whoever listens now. Nobody keeps it: each receiver also finds out by itself, later."""

    kind: SignalKind
    queue: QueueName | None = None
    ids: tuple[UUID, ...] = ()
