"""The calls of a fake service: from a request to its answer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import httpx2
from pydantic import BaseModel

from task_client.testing._access import Caller, FakeAudit, FakeKeys, FakePauses, scopes_of
from task_client.testing._answers import Held, RefusedError, invalid, shown, without_payloads
from task_client.testing._insight import Insight
from task_client.testing._requests import (
    AuditQuery,
    BulkBody,
    DemandQuery,
    EventFilter,
    KeysQuery,
    ListQuery,
    PausesQuery,
    UpdateBody,
    body_of,
    query_of,
)
from task_client.testing._streams import EventStream
from task_client.testing._tasks import FakeTasks, WrongStatusError
from task_contracts import (
    ApiKey,
    ApiKeyCreate,
    Attempt,
    AuditAction,
    AuditPage,
    BulkResult,
    CreatedTasks,
    ErrorGroup,
    FieldProblem,
    Health,
    HealthStatus,
    ItemList,
    Pause,
    PauseCreate,
    ProblemCode,
    QueueState,
    Scope,
    SortOrder,
    Task,
    TaskBatch,
    TaskCreate,
    TaskPage,
    TaskState,
    TaskSummary,
    TypeInfo,
    View,
    WorkerInfo,
    limits,
)
from task_contracts.lifecycle import CANCELLATION, Event, sources

Answer: TypeAlias = httpx2.Response | Held
_PREFIX = "/api/v1"
_KEY = re.compile(r"[!-~]{1,255}")
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*(\d{1,9})\s*(?:,|;|$)")
_WAIT_SECONDS_MAX = 60


class Routes:
    """Answers requests over some tasks."""

    def __init__(self, tasks: FakeTasks, queues: frozenset[str], keys: FakeKeys) -> None:
        self._tasks, self._queues, self._keys = tasks, queues, keys
        self._audit, self._pauses = FakeAudit(), FakePauses()
        tasks.is_paused = self._pauses.cover
        self._insight = insight = Insight(tasks, queues)
        self._looks: dict[str, Callable[[], BaseModel]] = {
            "stats": insight.stats,
            "queues": lambda: ItemList[QueueState](items=insight.queues()),
            "errors": lambda: ItemList[ErrorGroup](items=insight.errors()),
            "workers": lambda: ItemList[WorkerInfo](items=insight.workers()),
            "types": lambda: ItemList[TypeInfo](items=insight.types()),
            "version": insight.version,
        }
        self._ids_by_key: dict[str, tuple[str, list[UUID]]] = {}

    def answer(self, request: httpx2.Request) -> Answer:
        """Answer a request, by a problem document where it is refused."""
        try:
            with self._tasks.changed:
                return self._route(request)
        except RefusedError as refused:
            return refused.answer()
        except WrongStatusError as wrong:
            return RefusedError(409, wrong.code, str(wrong)).answer()
        except KeyError as missing:
            return RefusedError(404, ProblemCode.TASK_NOT_FOUND, f"no task has the id {missing.args[0]}").answer()

    def _route(self, request: httpx2.Request) -> Answer:
        path = request.url.path
        if path in {"/health/live", "/health/ready"}:
            return shown(Health(status=HealthStatus.OK))
        parts = path.removeprefix(f"{_PREFIX}/").split("/")
        caller = self._keys.caller(request)
        caller.check(*scopes_of(request.method, parts))
        if request.url.params.get("view") == View.FULL:
            caller.check(Scope.TASKS_PAYLOAD)
        if self._pauses.end_due():
            self._tasks.run_waiting()
        answer = self._answer_to(request, parts, caller)
        return answer if Scope.TASKS_PAYLOAD in caller.scopes else without_payloads(answer)

    def _answer_to(self, request: httpx2.Request, parts: list[str], caller: Caller) -> Answer:
        if request.method == "GET" and (found := self._look(request, parts)) is not None:
            return shown(found)
        match parts:
            case ["events"]:
                return self._events(request)
            case ["tasks"]:
                is_get = request.method == "GET"
                return self._page(query_of(request, ListQuery)) if is_get else self._create(request)
            case ["tasks", "batch"]:
                return self._create_batch(request)
            case ["tasks", "cancel" | "rerun" as call]:
                return self._change_many(request, call, caller)
            case ["tasks", task_id, *rest]:
                return self._route_one(request, request.method, _as_id(task_id), rest)
            case ["keys" | "audit" | "pauses" as what, *rest]:
                return self._operate(request, what, rest, caller)
        raise RefusedError(404, ProblemCode.NOT_FOUND, f"there is no {request.url.path}")

    def _operate(self, request: httpx2.Request, what: str, rest: list[str], caller: Caller) -> Answer:
        """Answer a call about keys, the audit or pauses."""
        match request.method, what, rest:
            case "GET", "keys", []:
                found = self._keys.all(include_revoked=query_of(request, KeysQuery).include_revoked)
                return shown(ItemList[ApiKey](items=found))
            case "POST", "keys", []:
                created = self._keys.new(body_of(request, ApiKeyCreate), caller)
                self._audit.note(AuditAction.CREATE_KEY, caller, target=created.id)
                return shown(created, 201)
            case "DELETE", "keys", [key_id]:
                self._keys.revoke(key_id)
                self._audit.note(AuditAction.REVOKE_KEY, caller, target=key_id)
                return httpx2.Response(204)
            case "GET", "audit", []:
                return self._audit_page(query_of(request, AuditQuery))
            case "GET", "pauses", []:
                pauses = self._pauses.all(include_ended=query_of(request, PausesQuery).include_ended)
                return shown(ItemList[Pause](items=pauses))
            case "POST", "pauses", []:
                pause = self._pauses.new(body_of(request, PauseCreate), caller)
                self._audit.note(AuditAction.PAUSE, caller, target=str(pause.id))
                return shown(pause, 201)
            case "DELETE", "pauses", [pause_id]:
                ended = self._pauses.end(_as_id(pause_id, "pause_id"))
                self._audit.note(AuditAction.RESUME, caller, target=str(ended.id))
                self._tasks.run_waiting()
                return shown(ended)
        raise RefusedError(405, ProblemCode.METHOD_NOT_ALLOWED, f"{request.method} is not allowed here")

    def _audit_page(self, query: AuditQuery) -> Answer:
        found = self._audit.newest(query.action, query.actor)
        end = query.cursor + query.limit
        return shown(AuditPage(items=found[query.cursor : end], next_cursor=str(end) if end < len(found) else None))

    def _look(self, request: httpx2.Request, parts: list[str]) -> BaseModel | None:
        """Return what happened and why; None if this asks for something else."""
        match parts:
            case [what] if what in self._looks:
                return self._looks[what]()
            case ["queues", queue, "demand"]:
                found = self._insight.demand(queue, query_of(request, DemandQuery).target_wait_seconds)
                if found is None:
                    raise RefusedError(404, ProblemCode.NOT_FOUND, f"there is no queue {queue}")
                return found
            case ["tasks", task_id, "attempts"]:
                return ItemList[Attempt](items=self._tasks.attempts(_as_id(task_id)))
            case ["tasks", task_id, "explain"]:
                return self._insight.explain(self._tasks.get(_as_id(task_id)))
        return None

    def _change_many(self, request: httpx2.Request, call: str, caller: Caller) -> Answer:
        body = body_of(request, BulkBody)
        if call == "cancel":
            action, result = AuditAction.CANCEL_MANY, self._changed(body, self._tasks.cancel, self._can_cancel)
        else:
            action, result = AuditAction.RERUN_MANY, self._changed(body, self._tasks.rerun, self._can_rerun)
        if not body.dry_run:
            filters = body.filter.model_dump(mode="json", exclude_unset=True)
            self._audit.note(action, caller, filter=filters, count=result.changed)
        return shown(result)

    def _route_one(self, request: httpx2.Request, method: str, task_id: UUID, rest: list[str]) -> Answer:
        match method, rest:
            case "GET", []:
                return self._held(request, task_id, lambda task: task)
            case "GET", ["status"]:
                return self._held(request, task_id, lambda task: TaskState.model_validate(task.model_dump()))
            case "GET", ["events"]:
                return self._events_of_one(request, task_id)
            case "DELETE", []:
                task = self._tasks.cancel(task_id)
                return shown(task, 200 if task.status.is_terminal else 202)
            case "POST", ["rerun"]:
                return shown(self._tasks.rerun(task_id))
            case "PATCH", []:
                return self._update(request, task_id)
        raise RefusedError(405, ProblemCode.METHOD_NOT_ALLOWED, f"{method} is not allowed here")

    def _create(self, request: httpx2.Request) -> Answer:
        body = body_of(request, TaskCreate)
        if body.queue not in self._queues:
            raise self._unknown_queue("body.queue")
        (task,), replayed = self._once(request, "POST /tasks", lambda: self._tasks.create([body]))
        return shown(task, 201, {"location": f"{_PREFIX}/tasks/{task.id}", **replayed})

    def _create_batch(self, request: httpx2.Request) -> Answer:
        body = body_of(request, TaskBatch)
        for index, task in enumerate(body.tasks):
            if task.queue not in self._queues:
                raise self._unknown_queue(f"body.tasks.{index}.queue")
        created, replayed = self._once(request, "POST /tasks/batch", lambda: self._tasks.create(body.tasks))
        return shown(CreatedTasks(items=[_summary(task) for task in created]), 201, replayed)

    def _once(
        self, request: httpx2.Request, call: str, create: Callable[[], list[Task]]
    ) -> tuple[list[Task], dict[str, str]]:
        """Create tasks, or return those that were created with the same key and body before, as they are now."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return create(), {}
        if not _KEY.fullmatch(key):
            raise invalid([FieldProblem(field="header.Idempotency-Key", message="1 to 255 visible ASCII characters")])
        body = json.dumps(json.loads(request.content), sort_keys=True)
        content = hashlib.sha256(f"{call} {body}".encode()).hexdigest()
        known, ids = self._ids_by_key.get(key, (content, []))
        if known != content:
            raise RefusedError(
                422, ProblemCode.IDEMPOTENCY_MISMATCH, "this key was used for another body or another call"
            )
        if ids:
            return [self._tasks.get(task_id) for task_id in ids], {"idempotency-replayed": "true"}
        created = create()
        self._ids_by_key[key] = (content, [task.id for task in created])
        return created, {}

    def _page(self, query: ListQuery) -> Answer:
        found = [task for task in self._found(query) if query.matches(task)]
        if query.idempotency_key is None and query.order is SortOrder.NEWEST:
            found.reverse()
        end = query.cursor + query.limit
        fields: dict[str, Any] = {"next_cursor": str(end) if end < len(found) else None}
        if query.include_total:
            total = min(len(found), limits.TOTAL_MAX)
            fields |= {"total": total, "total_is_capped": len(found) > total}
        items = found[query.cursor : end]
        if query.view is View.FULL:
            return shown(TaskPage[Task](items=items, **fields))
        return shown(TaskPage[TaskSummary](items=[_summary(task) for task in items], **fields))

    def _found(self, query: ListQuery) -> list[Task]:
        if query.idempotency_key is None:
            return [task for task, _ in self._tasks.all()]
        _, ids = self._ids_by_key.get(query.idempotency_key, ("", []))
        return [self._tasks.get(task_id) for task_id in ids]

    def _update(self, request: httpx2.Request, task_id: UUID) -> Answer:
        body = body_of(request, UpdateBody)
        if not body.model_fields_set:
            raise invalid([FieldProblem(field="body", message="give a priority or a run_at")])
        task = self._tasks.get(task_id)
        wanted = request.headers.get("if-match", "*").removeprefix("W/")
        if wanted not in {"*", f'"{task.version}"'}:
            raise RefusedError(412, "version_mismatch", f"the task is at version {task.version}")
        fields = body.model_dump(include=body.model_fields_set)
        if "run_at" in fields:
            fields["due_at"] = fields["run_at"] or datetime.now(UTC)
        return shown(self._tasks.reschedule(task_id, fields))

    def _changed(
        self, body: BulkBody, change: Callable[[UUID], Task], is_possible: Callable[[Task], bool]
    ) -> BulkResult:
        """Change a page of the tasks that match. The cursor is the number of the latest change when it all began."""
        if body.filter.model_fields_set and body.all:
            raise invalid([FieldProblem(field="body", message='has a filter and "all": true: send one of them')])
        if not body.filter.model_fields_set and not body.all:
            raise invalid([FieldProblem(field="body.filter", message='is empty; for all tasks send "all": true')])
        if empty := [name for name in body.filter.model_fields_set if not getattr(body.filter, name)]:
            raise invalid(
                [FieldProblem(field=f"body.filter.{name}", message="is empty: leave it out") for name in empty]
            )
        began = self._tasks.changes if body.cursor is None else int(body.cursor)
        matching = [
            task.id
            for task, number in self._tasks.all()
            if number <= began and is_possible(task) and body.filter.matches(task)
        ]
        if body.dry_run:
            return BulkResult(changed=min(len(matching), limits.TOTAL_MAX), start_cursor=str(began))
        for task_id in matching[: body.limit]:
            change(task_id)
        has_more = len(matching) > body.limit
        return BulkResult(changed=min(len(matching), body.limit), next_cursor=str(began) if has_more else None)

    def _can_cancel(self, task: Task) -> bool:
        return task.status in sources(*CANCELLATION) and task.cancel_requested_at is None

    def _can_rerun(self, task: Task) -> bool:
        return task.status in sources(Event.RERUN)

    def _held(self, request: httpx2.Request, task_id: UUID, view: Callable[[Task], TaskState]) -> Answer:
        """Answer with a task, held back until it has ended where `Prefer: wait` asks for it."""
        asked = _WAIT.search(request.headers.get("prefer", ""))
        seconds = min(int(asked[1]), _WAIT_SECONDS_MAX) if asked else 0
        headers = {"preference-applied": f"wait={seconds}"} if asked else {}

        def answer() -> httpx2.Response:
            task = self._tasks.get(task_id)
            return shown(view(task), headers={"etag": f'W/"{task.version}"', **headers})

        self._tasks.get(task_id)
        return Held(seconds, lambda: self._tasks.get(task_id).status.is_terminal, answer)

    def _events_of_one(self, request: httpx2.Request, task_id: UUID) -> Answer:
        task = self._tasks.get(task_id)
        is_known = request.headers.get("last-event-id") == str(task.version)
        stream = EventStream(
            self._tasks,
            self._tasks.changes if is_known and not task.status.is_terminal else 0,
            lambda one: one.id == task_id,
            lambda one, _: one.version,
            ends=True,
        )
        return _event_stream(stream)

    def _events(self, request: httpx2.Request) -> Answer:
        is_get = request.method == "GET"
        filters = query_of(request, EventFilter) if is_get else body_of(request, EventFilter)
        given = request.headers.get("last-event-id", "")
        after = int(given) if given.isdecimal() else self._tasks.changes
        return _event_stream(EventStream(self._tasks, after, filters.matches, lambda _, number: number, ends=False))

    def _unknown_queue(self, field: str) -> RefusedError:
        message = f"is none of {', '.join(sorted(self._queues))}"
        return RefusedError(
            422, ProblemCode.UNKNOWN_QUEUE, f"{field} {message}", [FieldProblem(field=field, message=message)]
        )


def _event_stream(stream: EventStream) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


def _summary(task: Task) -> TaskSummary:
    return TaskSummary.model_validate(task.model_dump())


def _as_id(text: str, name: str = "task_id") -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise invalid([FieldProblem(field=f"path.{name}", message="is not a UUID")]) from None
