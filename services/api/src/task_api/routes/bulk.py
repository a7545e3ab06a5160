"""The calls that change many tasks: cancel and rerun by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Self
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from task_api.access.callers import audit_context
from task_api.bodies import ManyBody, strict_route
from task_api.bulk_body import BulkBody
from task_api.bulk_cursors import BEFORE_ALL, BulkCursor
from task_api.deadlines import answer_within
from task_api.list_turns import ListTurns
from task_api.parts import ApiParts
from task_api.problems import invalid
from task_api.routes.answers import TASKS
from task_api.routes.task_responses import CANCEL_TASKS, RERUN_TASKS
from task_contracts import BulkResult, FieldProblem, Signal, SignalKind, limits
from task_contracts.lifecycle import CANCELLATION, Event
from task_store import AuditContext, TaskFilter


class BulkCalls:
    """The calls that change many tasks, one method each. They take turns with the lists, which read as many rows."""

    def __init__(self, parts: ApiParts, list_turns: ListTurns) -> None:
        self._tasks = parts.tasks
        self._signals = parts.signals
        self._seconds = parts.deadlines.request_seconds
        self._list_turns = list_turns

    async def cancel_tasks(self, request: Request, body: ManyBody) -> Response:
        """Cancel the tasks that match a filter, at most `limit` of them: the newest first.

        Those that wait are CANCELLED at once, and those that run are asked to stop; a running task that was asked
        before is not counted again. Go on with `next_cursor` until there is none. A repeat is harmless.
        """
        return await self._answer(request, CANCELLATION, body)

    async def rerun_tasks(self, request: Request, body: ManyBody) -> Response:
        """Begin a new run of the FAILED and CANCELLED tasks that match a filter, at most `limit` of them.

        The newest come first. Go on with `next_cursor` until there is none. Only what had finished before the first
        call is rerun, so a repeat with the same cursor reruns nothing twice. The first call has no cursor, unless it
        is given the `start_cursor` of a dry run.
        """
        return await self._answer(request, (Event.RERUN,), body)

    async def _answer(self, request: Request, events: Sequence[Event], body: BulkBody) -> Response:
        call = _Call.of(events, body, audit_context(request, body.sent_filter))
        result = await answer_within(self._seconds, self._count(call) if body.dry_run else self._change(call))
        return Response(result.model_dump_json(), media_type="application/json")

    async def _change(self, call: _Call) -> BulkResult:
        async with self._list_turns.turn():
            changed = await self._tasks.change_many(
                call.events, call.wanted, items=call.items, began_at=call.began_at, audit=call.audit
            )
        running = tuple(one for one, event in changed.event_by_id.items() if event is Event.REQUEST_CANCEL)
        if running:
            self._signals.send(Signal(kind=SignalKind.CANCEL, ids=running))
        for queue in changed.queues if Event.RERUN in call.events else ():
            self._signals.send(Signal(kind=SignalKind.DUE, queue=queue))
        following = changed.next_after
        return BulkResult(
            changed=len(changed.event_by_id),
            cancel_requested=len(running),
            next_cursor=call.encode(following, changed.began_at) if following else None,
        )

    async def _count(self, call: _Call) -> BulkResult:
        async with self._list_turns.turn():
            counted = await self._tasks.count_many(call.events, call.wanted, began_at=call.began_at)
        count_by_event = counted.count_by_event
        return BulkResult(
            changed=min(sum(count_by_event.values()), limits.TOTAL_MAX),
            changed_is_capped=counted.is_capped,
            cancel_requested=min(count_by_event.get(Event.REQUEST_CANCEL, 0), limits.TOTAL_MAX),
            start_cursor=call.encode(call.wanted.after or BEFORE_ALL, counted.began_at),
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call asks of the store. Its cursors are good for its own `purpose` alone: these events, this filter."""

    events: Sequence[Event]
    wanted: TaskFilter
    items: int
    began_at: datetime | None
    purpose: str
    audit: AuditContext

    @classmethod
    def of(cls, events: Sequence[Event], body: BulkBody, audit: AuditContext) -> Self:
        """Return what the body asks for.

        Raises:
            ProblemError: the cursor is not one of this call and filter.

        """
        purpose, wanted = f"{events[0]} {body.conditions}", body.to_filter()
        if body.cursor is None:
            return cls(events, wanted, body.limit, None, purpose, audit)
        try:
            cursor = BulkCursor.decode(body.cursor, purpose)
        except ValueError as error:
            raise invalid([FieldProblem(field="body.cursor", message=str(error))]) from None
        return cls(events, replace(wanted, after=cursor.after), body.limit, cursor.began_at, purpose, audit)

    def encode(self, after: UUID, began_at: datetime) -> str:
        """Return the cursor of the call that goes on after this task."""
        return BulkCursor(after, began_at).encode(self.purpose)


def add_bulk_calls(router: APIRouter, parts: ApiParts, list_turns: ListTurns) -> None:
    """Add the calls that change many tasks to the application's own router."""
    calls = BulkCalls(parts, list_turns)
    route = strict_route(parts.deadlines.body_seconds)
    add = partial(router.add_api_route, tags=["tasks"], route_class_override=route, methods=["POST"])
    add(f"{TASKS}/cancel", calls.cancel_tasks, operation_id="cancel_tasks", responses=CANCEL_TASKS)
    add(f"{TASKS}/rerun", calls.rerun_tasks, operation_id="rerun_tasks", responses=RERUN_TASKS)
