"""The requests that a fake service takes: queries and bodies, checked as the real one checks them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar
from uuid import UUID

import httpx2
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from task_client._bodies import field_problems
from task_client.testing._answers import RefusedError, invalid
from task_client.testing._tasks import failure_kind
from task_contracts import FieldProblem, Priority, SortOrder, Task, TaskBatch, TaskStatus, View, limits

Model = TypeVar("Model", bound=BaseModel)
_FORBID = ConfigDict(extra="forbid", frozen=True)
_REPEATED = frozenset({"id", "status", "priority", "label"})


class EventFilter(BaseModel):
    """Of which tasks a stream tells. An empty one means all."""

    model_config = _FORBID

    id: frozenset[UUID] = Field(default=frozenset(), max_length=1_000)
    status: list[TaskStatus] = Field(default_factory=list)
    label: list[Annotated[str, Field(pattern="^[^:]+:")]] = Field(default_factory=list)
    type: str | None = None
    queue: str | None = None

    def matches(self, task: Task) -> bool:
        """Whether a task meets all that is given."""
        pairs = [label.split(":", 1) for label in self.label]
        return all(
            (
                not self.id or task.id in self.id,
                not self.status or task.status in self.status,
                all(task.labels.get(key) == text for key, text in pairs),
                self.type in {None, task.type},
                self.queue in {None, task.queue},
            )
        )


class Filter(EventFilter):
    """Which tasks a list has, or a change in bulk. An empty one means all."""

    priority: list[Priority] = Field(default_factory=list)
    name: str | None = None
    created_from: AwareDatetime | None = None
    created_to: AwareDatetime | None = None
    finished_from: AwareDatetime | None = None
    finished_to: AwareDatetime | None = None
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = None
    worker: UUID | None = None
    id_prefix: Annotated[str, Field(pattern="^[0-9A-Fa-f]{8}[0-9A-Fa-f-]{0,28}$")] | None = None

    def matches(self, task: Task) -> bool:
        """Whether a task meets all that is given."""
        return super().matches(task) and all(
            (
                not self.priority or task.priority in self.priority,
                self.name is None or self.name.lower() in task.name.lower(),
                self.created_from is None or task.created_at >= self.created_from,
                self.created_to is None or task.created_at < self.created_to,
                self._matches_end(task),
                self.fingerprint is None or self._matches_kind(task),
                self.worker is None or (self.worker == task.worker_id and task.status is TaskStatus.IN_PROGRESS),
                task.id.hex.startswith((self.id_prefix or "").replace("-", "").lower()),
            )
        )

    def _matches_kind(self, task: Task) -> bool:
        kind = failure_kind(task)
        return kind is not None and kind.fingerprint == self.fingerprint

    def _matches_end(self, task: Task) -> bool:
        if self.finished_from is None and self.finished_to is None:
            return True
        return (
            task.finished_at is not None
            and (self.finished_from is None or task.finished_at >= self.finished_from)
            and (self.finished_to is None or task.finished_at < self.finished_to)
        )


class ListQuery(Filter):
    """The query of GET /tasks."""

    idempotency_key: str | None = None
    order: SortOrder = SortOrder.NEWEST
    limit: int = Field(default=limits.PAGE_ITEMS_DEFAULT, ge=1, le=limits.PAGE_ITEMS_MAX)
    cursor: int = Field(default=0, ge=0)
    view: View = View.SUMMARY
    include_total: bool = False


class DemandQuery(BaseModel):
    """The query of GET /queues/{queue}/demand."""

    model_config = _FORBID

    target_wait_seconds: float | None = Field(default=None, ge=1, le=86_400)


class KeysQuery(BaseModel):
    """The query of GET /keys."""

    model_config = _FORBID

    include_revoked: bool = False


class PausesQuery(BaseModel):
    """The query of GET /pauses."""

    model_config = _FORBID

    include_ended: bool = False


class AuditQuery(BaseModel):
    """The query of GET /audit."""

    model_config = _FORBID

    action: str | None = None
    actor: str | None = None
    limit: int = Field(default=limits.PAGE_ITEMS_DEFAULT, ge=1, le=limits.PAGE_ITEMS_MAX)
    cursor: int = Field(default=0, ge=0)


class BulkBody(BaseModel):
    """The body of POST /tasks/cancel and POST /tasks/rerun."""

    model_config = _FORBID

    filter: Filter = Filter()
    all: bool = False
    dry_run: bool = False
    limit: int = Field(default=1_000, ge=1, le=1_000)
    cursor: str | None = Field(default=None, pattern="^[0-9]{1,18}$")


class UpdateBody(BaseModel):
    """The body of PATCH /tasks/{task_id}."""

    model_config = _FORBID

    priority: Priority | None = None
    run_at: AwareDatetime | None = None


def body_of(request: httpx2.Request, model: type[Model]) -> Model:
    """Return the body of a request.

    Raises:
        RefusedError: 413, 415 or 422.

    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RefusedError(415, "unsupported_media_type", "send JSON, as application/json")
    bytes_max = limits.BATCH_BODY_BYTES if model is TaskBatch else limits.BODY_BYTES
    if len(request.content) > bytes_max:
        raise RefusedError(413, "body_too_large", f"the body may have {bytes_max} bytes")
    try:
        return model.model_validate_json(request.content)
    except ValidationError as error:
        raise invalid(field_problems(error, "body")) from None


def query_of(request: httpx2.Request, model: type[Model]) -> Model:
    """Return the query of a request.

    Raises:
        RefusedError: 422.

    """
    found: dict[str, Any] = {}
    for name, value in request.url.params.multi_items():
        if name in _REPEATED:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise invalid([FieldProblem(field=f"query.{name}", message="may be given once")])
        else:
            found[name] = value
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise invalid(field_problems(error, "query")) from None
