"""The calls that say what failed and why: the attempts of a task, and the failures of the last day by their kinds."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from task_api.access.callers import shows_payloads
from task_api.bodies import strict_route
from task_api.deadlines import answer_within
from task_api.parts import ApiParts
from task_api.problems import task_not_found
from task_api.routes.answers import API, TASKS, json_answer
from task_api.routes.task_responses import LIST_ATTEMPTS, LIST_ERRORS
from task_contracts import Attempt, ErrorGroup, ItemList

ERRORS = f"{API}/errors"

_TRACEBACKS = {"items": {"__all__": {"traceback"}}}


class FailureCalls:
    """The calls on failures, one method each."""

    def __init__(self, parts: ApiParts) -> None:
        self._tasks = parts.tasks
        self._seconds = parts.deadlines.request_seconds

    async def list_attempts(self, request: Request, task_id: UUID) -> Response:
        """List the attempts of a task, the one that runs and the completed one among them.

        Numbers have gaps where the task snoozed. Of more than 1,000 attempts the latest are listed, and of more than
        4 MiB of errors and tracebacks the latest. Tracebacks are left out where the key lacks `tasks:payload`.
        """
        attempts = await answer_within(self._seconds, self._tasks.attempts(task_id))
        if attempts is None:
            raise task_not_found(task_id)
        unseen = None if shows_payloads(request) else _TRACEBACKS
        return json_answer(ItemList[Attempt].model_construct(items=attempts).model_dump_json(exclude=unseen))

    async def list_errors(self) -> Response:
        """List the failures of the last day by what they have in common: most first, at most 200 kinds.

        Every failed attempt counts, some ten seconds after it ended. To list the tasks that FAILED by one of these
        kinds, or to rerun them, filter by `fingerprint`.
        """
        groups = await answer_within(self._seconds, self._tasks.error_groups())
        return json_answer(ItemList[ErrorGroup].model_construct(items=groups).model_dump_json())


def add_failure_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the calls on failures to the application's own router."""
    calls = FailureCalls(parts)
    add = partial(router.add_api_route, tags=["tasks"], route_class_override=strict_route(parts.deadlines.body_seconds))
    add(f"{TASKS}/{{task_id}}/attempts", calls.list_attempts, operation_id="list_attempts", responses=LIST_ATTEMPTS)
    add(ERRORS, calls.list_errors, operation_id="list_errors", responses=LIST_ERRORS)
