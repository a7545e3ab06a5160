"""Messages on the broker. They name tasks; the rows say what is true, so a lost message costs time and never a task."""

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
    """Tasks of one broker queue that are due. Whoever receives it claims them by their ids."""

    ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=limits.MESSAGE_IDS_MAX)]


class SignalKind(StrEnum):
    """What a signal is about."""

    DUE = "due"
    """Tasks became due, or (without a queue) the offers of the workers changed: the leader looks at once."""
    CHANGED = "changed"
    """Tasks changed: whoever waits for one of them reads it again."""
    CANCEL = "cancel"
    """A caller asked to cancel these running tasks: their workers read their rows at once."""
    REVOKED = "revoked"
    """A key was revoked: whoever remembers keys looks each of them up again before it is next taken."""


class Signal(_Message):
    """A message to all that listen now. It is not kept: each receiver also finds out by itself, later."""

    kind: SignalKind
    queue: QueueName | None = None
    ids: tuple[UUID, ...] = ()
