"""Pauses: tasks of a queue, a type or a priority that no worker begins for now (docs/pausing.md)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from task_contracts import _limits as limits
from task_contracts._enums import Priority
from task_contracts._schemas import QueueName, Text, TypeName, _only_rfc_3339

_ALL = "None: all of them."


class PauseCreate(BaseModel):
    """The body of POST /pauses: which tasks, for how long and why. What is left out matches all."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    queue: QueueName | None = Field(default=None, description=f"Tasks of this queue. {_ALL}")
    type: TypeName | None = Field(default=None, description=f"Tasks of this type. {_ALL}")
    priority: Annotated[Priority | None, Field(strict=False)] = Field(
        default=None, description=f"Tasks of this priority. {_ALL}"
    )
    reason: Annotated[Text, Field(max_length=limits.PAUSE_REASON_CHARS)] | None = Field(
        default=None, description="Why, for whoever finds the tasks waiting.", examples=["the mail provider is down"]
    )
    until: Annotated[AwareDatetime | None, BeforeValidator(lambda value: value and _only_rfc_3339(value))] = Field(
        default=None, strict=False, description="When it ends by itself. None: when it is deleted."
    )


class Pause(BaseModel):
    """A pause, as it stands or as it was."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    queue: str | None = None
    type: str | None = None
    priority: Priority | None = None
    reason: str | None = None
    paused_by: str = Field(description="The owner of the key that asked for it; '' without keys.")
    created_at: AwareDatetime
    effective_at: AwareDatetime = Field(
        description="From then on until its end no task that it covers begins. Those that run go on."
    )
    until: AwareDatetime | None = None
    ended_at: AwareDatetime | None = Field(default=None, description="When it was over. None: it stands.")
