"""Schemas of the API: the request that creates a task and the answers that show one.

Requests are strict and forbid unknown fields, so that a misspelt field is an error and not ignored.
Answers ignore unknown fields when they are read, so that an older client works with a newer server.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from task_contracts import _limits as limits
from task_contracts._enums import Priority, TaskStatus
from task_contracts._json import check_json, check_text

TYPE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
QUEUE_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
IDEMPOTENCY_KEY_PATTERN = r"^[!-~]+$"
LABEL_KEY_PATTERN = r"^[^:]+$"

# Published alone: `check_text` refuses NUL in words that a caller understands.
_NO_NUL = {"pattern": r"^[^\u0000]*$"}
_NO_NUL_NOT_BLANK = {"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def _only_rfc_3339(value: Any) -> Any:
    """Refuse numbers and numeric strings, which pydantic would read as timestamps."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise ValueError("must be a date and time with an offset as RFC 3339 writes it, such as 2026-11-01T12:00:00Z")


def _check_run_at(moment: datetime) -> datetime:
    latest = datetime.now(UTC) + timedelta(days=limits.RUN_AT_HORIZON_DAYS)
    if not _EARLIEST <= moment <= latest:
        raise ValueError(f"must lie between the year 2000 and {limits.RUN_AT_HORIZON_DAYS} days from now")
    return moment.astimezone(UTC)


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _only_numbers(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 # pydantic turns only a ValueError into a field error
    return value


def _only_few_labels(value: Any) -> Any:
    """Refuse too many before each is looked at: pydantic counts those that are valid, at the end."""
    if isinstance(value, dict) and len(value) > limits.LABELS_MAX:
        raise ValueError(f"must have at most {limits.LABELS_MAX} labels, not {len(value)}")
    return value


Text = Annotated[str, AfterValidator(check_text), Field(json_schema_extra=_NO_NUL)]
Name = Annotated[
    Text,
    Field(min_length=1, max_length=limits.NAME_CHARS, json_schema_extra=_NO_NUL_NOT_BLANK),
    AfterValidator(_check_not_blank),
]
TypeName = Annotated[str, Field(min_length=1, max_length=limits.TYPE_CHARS, pattern=TYPE_PATTERN)]
IdempotencyKey = Annotated[
    str, Field(min_length=1, max_length=limits.IDEMPOTENCY_KEY_CHARS, pattern=IDEMPOTENCY_KEY_PATTERN)
]
QueueName = Annotated[str, Field(min_length=1, max_length=limits.QUEUE_CHARS, pattern=QUEUE_PATTERN)]
LabelKey = Annotated[
    str,
    AfterValidator(check_text),
    Field(min_length=1, max_length=limits.LABEL_KEY_CHARS, pattern=LABEL_KEY_PATTERN),
]
LabelValue = Annotated[Text, Field(max_length=limits.LABEL_VALUE_CHARS)]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    Field(
        max_length=limits.LABELS_MAX,
        # pydantic 2.14 leaves the pattern of a key out of the published schema
        json_schema_extra={
            "propertyNames": {"minLength": 1, "maxLength": limits.LABEL_KEY_CHARS, "pattern": r"^[^:\u0000]+$"}
        },
    ),
    BeforeValidator(_only_few_labels),
]
StorableJson = Annotated[JsonValue, BeforeValidator(check_json)]
Payload = Annotated[dict[str, JsonValue], BeforeValidator(check_json)]
# strict=False: after a validator of ours, pydantic 2.14 no longer knows that the string came from JSON.
RunAt = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_only_rfc_3339), AfterValidator(_check_run_at)]
TimeoutSeconds = Annotated[
    float,
    Field(ge=limits.TIMEOUT_SECONDS_MIN, le=limits.TIMEOUT_SECONDS_MAX, allow_inf_nan=False),
    BeforeValidator(_only_numbers),
]
MaxAttempts = Annotated[int, Field(ge=1, le=limits.ATTEMPTS_MAX)]


class TaskCreate(BaseModel):
    """The body of POST /tasks: one piece of work to be done."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"name": "say hello", "payload": {"text": "hello"}},
                {
                    "name": "monthly report",
                    "type": "report.build",
                    "queue": "reports",
                    "priority": "HIGH",
                    "labels": {"customer": "42"},
                    "payload": {"month": "2026-10"},
                    "timeout_seconds": 120,
                    "max_attempts": 5,
                },
            ]
        },
    )

    name: Name = Field(description="A name for people to read.", examples=["monthly report"])
    description: Annotated[Text, Field(max_length=limits.DESCRIPTION_CHARS)] | None = Field(
        default=None, description="Anything that a person who looks at the task should know."
    )
    priority: Priority = Field(
        default=Priority.MEDIUM, description="HIGH is picked before MEDIUM before LOW, by weights."
    )
    type: TypeName | None = Field(
        default=None,
        description="The name of the handler that runs the task. If left out, the server's default type.",
        examples=["echo"],
    )
    queue: QueueName = Field(default="default", description="A line of tasks with workers of its own.")
    labels: Labels = Field(
        default_factory=dict,
        description=f"Up to {limits.LABELS_MAX} short strings to find tasks by.",
        examples=[{"customer": "42"}],
    )
    payload: Payload = Field(default_factory=dict, description="What the handler gets.", examples=[{"text": "hello"}])
    run_at: RunAt | None = Field(
        default=None,
        description="Not before this time (RFC 3339 with an offset, at most a year ahead). If left out, at once.",
    )
    timeout_seconds: TimeoutSeconds | None = Field(
        default=None,
        description="Longest run of one attempt. If left out, the handler's own, else the worker's setting.",
    )
    max_attempts: MaxAttempts | None = Field(
        default=None,
        description="So many failed attempts FAIL the task. If left out, the handler's own, else the worker's setting.",
    )


class TaskBatch(BaseModel):
    """The body of POST /tasks/batch: tasks that are created together, all of them or none."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    tasks: list[TaskCreate] = Field(
        min_length=1,
        max_length=limits.BATCH_TASKS_MAX,
        description="The tasks, each as POST /tasks takes it. The answer has them in this order.",
    )


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class TaskError(_Answer):
    """Why the last attempt of a task failed."""

    code: str = Field(description="A stable word to act on.", examples=["handler_error"])
    message: str = Field(description="A sentence for people.", examples=["division by zero"])
    type: str | None = Field(
        default=None, description="The exception's class, if one was raised.", examples=["ZeroDivisionError"]
    )


class Progress(_Answer):
    """How far a running task has come, as its handler last said."""

    percent: float = Field(ge=0, le=100, examples=[40])
    message: str | None = Field(default=None, examples=["page 4 of 10"])


class TaskState(_Answer):
    """The short answer of GET /tasks/{task_id}/status."""

    id: UUID
    status: TaskStatus
    progress: Progress | None = None
    attempt: int = Field(ge=0, description="Attempts begun so far, all runs together.")
    version: int = Field(ge=1, description="Rises at every change.")
    cancel_requested_at: AwareDatetime | None = None
    created_at: AwareDatetime
    started_at: AwareDatetime | None = Field(default=None, description="When the latest attempt began.")
    finished_at: AwareDatetime | None = None


class TaskSummary(TaskState):
    """A task without its payload and its result, which may be large."""

    name: str
    description: str | None = None
    type: str
    queue: str
    labels: dict[str, str] = Field(default_factory=dict)
    priority: Priority
    run_at: AwareDatetime | None = None
    due_at: AwareDatetime = Field(description="When the task may next be claimed; after a failure, when it is retried.")
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    failures: int = Field(default=0, ge=0, description="Failed attempts of this run: what max_attempts counts.")
    lost_count: int = Field(default=0, ge=0, description="Workers that died while they ran this task, in this run.")
    rerun_count: int = Field(default=0, ge=0, description="How often a caller asked for another run.")
    worker_id: UUID | None = None
    error: TaskError | None = None


class Task(TaskSummary):
    """A task with all its fields, payload and result included."""

    payload: dict[str, Any] = Field(default_factory=dict)
    result: Any = Field(default=None, description="What the handler returned: any JSON.")


class CreatedTasks(_Answer):
    """The answer of POST /tasks/batch."""

    items: list[TaskSummary] = Field(description="One for each task of the request, in its order.")


Item = TypeVar("Item", bound=TaskSummary)


class TaskPage(_Answer, Generic[Item]):
    """One page of a list.

    A page may have fewer items than asked for, even none, and still a `next_cursor`: it ends early if it would be too
    large, or after reading many rows for a rare filter. The last page has no `next_cursor`.
    """

    items: list[Item]
    next_cursor: str | None = Field(default=None, description="Give it back as `cursor` for the next page.")
    total: int | None = Field(default=None, description="Tasks that match, if include_total was asked for.")
    total_is_capped: bool | None = Field(default=None, description="Whether there are, or may be, more than `total`.")
