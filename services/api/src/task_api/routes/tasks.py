"""The calls on tasks: create, list, and on one task read, read the status, update, cancel, rerun."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from task_api import cursors, examples
from task_api.access.callers import caller_of, require_payloads, shows_payloads
from task_api.batch_bodies import BatchBody, read_batch
from task_api.bodies import CreateBody, UpdateBody, strict_route
from task_api.deadlines import answer_within
from task_api.etags import etag_of, expected_versions, matches
from task_api.list_turns import ListTurns
from task_api.new_tasks import NewTasks
from task_api.parts import ApiParts
from task_api.payload_check import PayloadCheck
from task_api.preferences import Prefer, applied, wait_seconds
from task_api.problems import ProblemError, task_finished, task_not_found, version_mismatch, wrong_status
from task_api.queries import ListQuery, refuse_repeats
from task_api.request_keys import REPLAYED, IdempotencyKeyHeader, keyed
from task_api.routes.answers import TASKS, UNSHARED, json_answer
from task_api.routes.task_responses import (
    CANCEL_TASK,
    CREATE_TASK,
    CREATE_TASKS,
    GET_TASK,
    GET_TASK_STATUS,
    LIST_TASKS,
    RERUN_TASK,
    UPDATE_TASK,
)
from task_api.waits import wait_until_ended
from task_contracts import (
    CreatedTasks,
    Signal,
    SignalKind,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
    TaskSummary,
    View,
    limits,
)
from task_contracts.lifecycle import CANCELLATION, Event, refusal
from task_store import Changed, Created, CreatedBatch, NewTask, Page, RequestKey, StoreError

TRACEPARENT = "traceparent"

_PAYLOADS = {"payload", "result"}
_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_TASK = TypeAdapter(Task)
_CREATED = TypeAdapter(CreatedTasks)
_STATE = TypeAdapter(TaskState)
_PAGE_BY_VIEW: dict[View, TypeAdapter[TaskPage[Any]]] = {
    View.SUMMARY: TypeAdapter(TaskPage[TaskSummary]),
    View.FULL: TypeAdapter(TaskPage[Task]),
}

Read = TypeVar("Read", bound=TaskState)

IfNoneMatch = Annotated[str | None, Header(description="The ETag of what the caller has.", examples=[examples.ETAG])]
IfMatch = Annotated[
    str | None, Header(description="The ETag that the task must still have, else 412.", examples=[examples.ETAG])
]


class TaskCalls:
    """The calls on tasks, one method each.

    Each answers within `Deadlines.request_seconds`: with a 503 where the database does not answer.
    """

    def __init__(self, parts: ApiParts, list_turns: ListTurns) -> None:
        self._tasks = parts.tasks
        self._signals = parts.signals
        self._new_tasks = NewTasks(parts.settings, parts.signals, parts.observer)
        self._tracer = parts.tracer
        self._watch = parts.watch
        self._access = parts.access
        self._seconds = parts.deadlines.request_seconds
        self._list_turns = list_turns
        self._payloads = PayloadCheck(parts.offers, parts.tasks, parts.deadlines.check_seconds)

    async def create_task(
        self,
        request: Request,
        body: CreateBody,
        idempotency_key: IdempotencyKeyHeader = None,
        prefer: Prefer = None,
    ) -> Response:
        """Store a task. It runs as soon as a worker has a free slot, or at `run_at`.

        With an `Idempotency-Key` a repeat gets the task as it is now; without one it creates another task.
        `Prefer: wait=N` waits for it to end. 422 says at once which field of its payload is missing or forbidden,
        where every live worker of its type would refuse it for that.
        """
        (new,) = self._new_tasks.make([body], "body")
        key = None
        if idempotency_key is not None:
            key = keyed(request, idempotency_key, _JSON.validate_json(await request.body()))
        seconds = await self._check_payloads([new], "body", key)
        # Not `answer_within`: a burst of large payloads may take longer, while others of it are answered.
        with self._tracer.sending([new.asked.queue], request.headers.get(TRACEPARENT)) as traceparent:
            new = replace(new, traceparent=traceparent) if traceparent else new
            if key is None:
                created = Created(await self._tasks.create(new, seconds=seconds), is_replay=False)
            else:
                created = await self._tasks.create_keyed(new, key, seconds=seconds)
        task = created.task
        if not created.is_replay:
            self._new_tasks.tell([task])
        wait = wait_seconds(prefer)
        if wait:
            # It is stored, so that is the answer, whatever has become of the database or of the task by now.
            with suppress(StoreError, TimeoutError, ProblemError):
                task = await self._awaited_task(request, task, wait)
        headers = {"Location": f"{TASKS}/{task.id}", **(REPLAYED if created.is_replay else {}), **applied(wait)}
        return json_answer(_dumped_task(request, task), 201, **headers)

    async def create_tasks(
        self, request: Request, body: BatchBody, idempotency_key: IdempotencyKeyHeader = None
    ) -> Response:
        """Store up to 1,000 tasks at once, all of them or, if one is wrong, none.

        With an `Idempotency-Key` a repeat gets the tasks as they are now; without one it creates them again.
        """
        batch = await read_batch(body)
        news = self._new_tasks.make(batch.tasks, "body.tasks.{}")
        key = None
        if idempotency_key is not None:
            sent = batch.sent
            await asyncio.sleep(0)  # between reading and hashing up to 4 MiB others have a turn
            key = keyed(request, idempotency_key, sent)
        seconds = await self._check_payloads(news, "body.tasks.{}", key)
        queues = [new.asked.queue for new in news]
        with self._tracer.sending(queues, request.headers.get(TRACEPARENT)) as traceparent:
            news = [replace(new, traceparent=traceparent) for new in news] if traceparent else news
            created = await answer_within(seconds, self._tasks.create_batch(news, key))
        if not created.is_replay:
            self._new_tasks.tell(created.items)
        return json_answer(_dumped(created), 201, **(REPLAYED if created.is_replay else {}))

    async def list_tasks(self, request: Request, query: Annotated[ListQuery, Query()]) -> Response:
        """List tasks by time of creation, newest first unless asked otherwise.

        A page may be short, even empty, and still carry a `next_cursor`; the last one carries none. Payloads and
        results are left out unless `view=full`, which needs the scope `tasks:payload`. `idempotency_key` looks for the
        caller's own keys.
        """
        if query.view is View.FULL:
            require_payloads(request, "view=full")
        page = await answer_within(self._seconds, self._page(query, caller_of(request.scope).owner))
        return json_answer(_PAGE_BY_VIEW[query.view].dump_json(page))

    async def get_task(
        self, request: Request, task_id: UUID, if_none_match: IfNoneMatch = None, prefer: Prefer = None
    ) -> Response:
        """Read a task. `Prefer: wait=N` waits for it to end."""
        wait = wait_seconds(prefer)
        task = await self._awaited_task(request, await self._found(self._tasks.get(task_id), task_id), wait)
        return _shown_or_304(if_none_match, task.version, _dumped_task(request, task), **applied(wait))

    async def get_task_status(
        self, request: Request, task_id: UUID, if_none_match: IfNoneMatch = None, prefer: Prefer = None
    ) -> Response:
        """Read the status and the progress of a task, without its payload and result. `Prefer: wait=N` waits."""
        wait = wait_seconds(prefer)
        state = await self._found(self._tasks.state(task_id), task_id)
        awaited = await self._wait(request, state, wait)
        state = await self._found(self._tasks.state(task_id), task_id) if awaited is None else awaited
        return _shown_or_304(if_none_match, state.version, _STATE.dump_json(state), **applied(wait))

    async def cancel_task(self, request: Request, task_id: UUID) -> Response:
        """Cancel a task: at once if it waits, by asking its worker to stop if it runs.

        200: it is CANCELLED. 202: it runs and was asked to stop; it becomes CANCELLED, or COMPLETED if it succeeds
        before. A repeat is harmless and answers the same.
        """
        changed = await answer_within(self._seconds, self._tasks.cancel(task_id))
        if changed is None:
            raise task_not_found(task_id)
        task = changed.task
        if changed.event is None and task.status is not TaskStatus.CANCELLED:
            raise task_finished(refusal(task.status, *CANCELLATION))
        is_running = changed.event is Event.REQUEST_CANCEL
        if is_running:
            self._signals.send(Signal(kind=SignalKind.CANCEL, ids=(task_id,)))
        return json_answer(_dumped_task(request, task), 202 if is_running else 200)

    async def update_task(
        self, request: Request, task_id: UUID, body: UpdateBody, if_match: IfMatch = None
    ) -> Response:
        """Give a waiting task another priority or time; effective at once, wherever the task is queued.

        What is left out stays as it is. A repeat is harmless; with `If-Match` it answers 412.
        """
        versions = expected_versions(if_match)
        changed = await answer_within(self._seconds, self._tasks.reschedule(task_id, body, versions=versions))
        if changed is None:
            raise task_not_found(task_id)
        task = changed.task
        if changed.event is None and versions is not None and task.version not in versions:
            raise version_mismatch(task.version)
        return self._due(request, changed, Event.RESCHEDULE)

    async def rerun_task(self, request: Request, task_id: UUID) -> Response:
        """Begin a new run of a FAILED or CANCELLED task: it waits, with its failures back at 0, and is due at once.

        Not safe to repeat where the answer was lost: a repeat is 409 while the task waits or runs, and reruns it if it
        has failed again.
        """
        changed = await answer_within(self._seconds, self._tasks.rerun(task_id))
        if changed is None:
            raise task_not_found(task_id)
        return self._due(request, changed, Event.RERUN)

    def _due(self, request: Request, changed: Changed, event: Event) -> Response:
        """Answer for a task that `event` may have made due, and wake the leader, which may wait for a later time."""
        task = changed.task
        if changed.event is None:
            raise wrong_status(refusal(task.status, event))
        self._signals.send(Signal(kind=SignalKind.DUE, queue=task.queue))
        return json_answer(_dumped_task(request, task), ETag=etag_of(task.version))

    async def _awaited_task(self, request: Request, task: Task, wait: int | None) -> Task:
        """Wait for the end of a task, and return it as it is then: read again only if it has changed."""
        awaited = await self._wait(request, task, wait)
        if awaited is not None and awaited.version == task.version:
            return task
        return await self._found(self._tasks.get(task.id), task.id)

    async def _wait(self, request: Request, state: TaskState, wait: int | None) -> TaskState | None:
        if not wait or state.status.is_terminal:
            return state
        return await wait_until_ended(self._watch, self._access, request, state.id, wait)

    async def _found(self, reading: Coroutine[Any, Any, Read | None], task_id: UUID) -> Read:
        found = await answer_within(self._seconds, reading)
        if found is None:
            raise task_not_found(task_id)
        return found

    async def _check_payloads(self, news: Sequence[NewTask], place: str, key: RequestKey | None) -> float:
        """Check the payloads of new tasks, and return how many of the request's seconds are left to store them."""
        began_at = time.monotonic()
        await self._payloads.check(news, place, key)
        return max(0.0, self._seconds - (time.monotonic() - began_at))

    async def _page(self, query: ListQuery, owner: str) -> TaskPage[Any]:
        wanted = replace(query.to_filter(), scope=owner)
        async with self._list_turns.turn():
            page = await self._tasks.page(wanted, items=query.limit, is_full=query.view is View.FULL)
            if not query.include_total:
                return _page_answer(page)
            total = await self._tasks.total(replace(wanted, after=None))
            return _page_answer(page, total=total.count, total_is_capped=total.is_capped)


def add_task_calls(router: APIRouter, parts: ApiParts, list_turns: ListTurns) -> None:
    """Add the calls on tasks to the application's own router. An included router would make each request slower."""
    calls = TaskCalls(parts, list_turns)
    add = partial(router.add_api_route, tags=["tasks"], route_class_override=strict_route(parts.deadlines.body_seconds))
    add(
        TASKS,
        calls.create_task,
        methods=["POST"],
        operation_id="create_task",
        status_code=201,
        responses=CREATE_TASK,
    )
    add(
        f"{TASKS}/batch",
        calls.create_tasks,
        methods=["POST"],
        operation_id="create_tasks",
        status_code=201,
        responses=CREATE_TASKS,
        route_class_override=strict_route(parts.deadlines.body_seconds, limits.BATCH_BODY_BYTES),
    )
    add(
        TASKS,
        calls.list_tasks,
        operation_id="list_tasks",
        dependencies=[Depends(refuse_repeats)],
        responses=LIST_TASKS,
    )
    task = f"{TASKS}/{{task_id}}"
    add(task, calls.get_task, operation_id="get_task", responses=GET_TASK)
    add(f"{task}/status", calls.get_task_status, operation_id="get_task_status", responses=GET_TASK_STATUS)
    add(task, calls.cancel_task, methods=["DELETE"], operation_id="cancel_task", responses=CANCEL_TASK)
    add(task, calls.update_task, methods=["PATCH"], operation_id="update_task", responses=UPDATE_TASK)
    add(f"{task}/rerun", calls.rerun_task, methods=["POST"], operation_id="rerun_task", responses=RERUN_TASK)


def _page_answer(page: Page, **total: Any) -> TaskPage[Any]:
    following = cursors.encode(page.next_after) if page.next_after else None
    # The items come from rows, so they are valid: validating them again would only cost time.
    return TaskPage[Any].model_construct(items=list(page.items), next_cursor=following, **total)


def _dumped(created: CreatedBatch) -> bytes:
    """Return the JSON of `CreatedTasks`."""
    if created.is_replay:
        return _CREATED.dump_json(CreatedTasks.model_construct(items=list(created.items)))
    # New tasks hold plain values only: orjson writes them alike, in a fifth of the time.
    return orjson.dumps({"items": [vars(task) for task in created.items]}, option=orjson.OPT_UTC_Z)


def _dumped_task(request: Request, task: Task) -> bytes:
    """Return the JSON of a task, without payload and result where its caller may not see them."""
    return _TASK.dump_json(task, exclude=None if shows_payloads(request) else _PAYLOADS)


def _shown_or_304(if_none_match: str | None, version: int, shown: bytes, **headers: str) -> Response:
    etag = etag_of(version)
    if matches(if_none_match, etag):
        return Response(None, 304, {**UNSHARED, "ETag": etag, **headers})
    return json_answer(shown, 200, ETag=etag, **headers)
