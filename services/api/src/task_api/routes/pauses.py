"""The calls on pauses: to keep a queue, a type or a priority from beginning, and to let it go on."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from task_api import examples
from task_api.access.callers import audit_context
from task_api.bodies import PauseBody, strict_route
from task_api.deadlines import answer_within
from task_api.openapi import Responses, answer, errors
from task_api.parts import ApiParts
from task_api.problems import invalid, not_json, pause_is_over, pause_not_found, pauses_not_known, unavailable
from task_api.queries import PausesQuery, refuse_repeats
from task_api.routes.answers import API, json_answer
from task_contracts import FieldProblem, ItemList, Pause, Signal, SignalKind
from task_store import PauseOverError, PauseRefusedError, Pauses, PausesNotKnownError

PAUSES = f"{API}/pauses"

CREATE_PAUSE: Responses = {
    201: answer(Pause, "It holds", examples.PAUSE),
    **errors(
        examples.TOO_SLOW,
        examples.TOO_LARGE,
        not_json(),
        examples.UNKNOWING_WORKERS,
        examples.WRONG_PAUSE,
        unavailable(),
    ),
}
LIST_PAUSES: Responses = {
    200: answer(ItemList[Pause], "The pauses", {"items": [examples.PAUSE]}),
    **errors(examples.WRONG_QUERY, unavailable()),
}
END_PAUSE: Responses = {
    200: answer(Pause, "It is over", examples.PAUSE | {"ended_at": "2026-11-01T13:00:00Z"}),
    **errors(examples.UNKNOWN_PAUSE, examples.OVER_PAUSE, examples.WRONG_PAUSE_ID, unavailable()),
}


class PauseCalls:
    """The calls, one method each. Each answers within `Deadlines.request_seconds`."""

    def __init__(self, parts: ApiParts) -> None:
        self._pauses = Pauses(parts.callers)
        self._signals = parts.signals
        self._seconds = parts.deadlines.request_seconds

    async def create_pause(self, request: Request, body: PauseBody) -> Response:
        """Keep the tasks of a queue, a type or a priority from beginning, or of all that are named together.

        It holds in every worker when it is answered: none of these tasks begins at `effective_at` or later. What runs
        goes on, and a claim that was under way may be answered up to 3 seconds later. New tasks are accepted, and wait.
        409: a worker of an older version lives, which would go on. A repeat adds a second pause.
        """
        try:
            pause = await answer_within(self._seconds, self._pauses.add(body, audit_context(request)))
        except PausesNotKnownError as error:
            raise pauses_not_known(str(error)) from None
        except PauseRefusedError as error:
            field = "body.until" if error.is_of_time else "body"
            raise invalid([FieldProblem(field=field, message=str(error))]) from None
        return json_answer(pause.model_dump_json(), 201)

    async def list_pauses(self, query: Annotated[PausesQuery, Query()]) -> Response:
        """List the pauses that stand, the newest first."""
        standing = await answer_within(self._seconds, self._pauses.standing(with_ended=query.include_ended))
        return json_answer(ItemList[Pause].model_construct(items=standing).model_dump_json())

    async def end_pause(self, request: Request, pause_id: UUID) -> Response:
        """End a pause: its tasks begin again, in their order and by the weights of the priorities.

        409: it was over already, by another call or by its `until`.
        """
        try:
            pause = await answer_within(self._seconds, self._pauses.end(pause_id, audit_context(request)))
        except PauseOverError as error:
            raise pause_is_over(str(error)) from None
        if pause is None:
            raise pause_not_found(pause_id)
        self._signals.send(Signal(kind=SignalKind.DUE))
        return json_answer(pause.model_dump_json())


def add_pause_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the calls to the application's own router."""
    calls = PauseCalls(parts)
    add = partial(
        router.add_api_route, tags=["operate"], route_class_override=strict_route(parts.deadlines.body_seconds)
    )
    add(
        PAUSES,
        calls.create_pause,
        methods=["POST"],
        operation_id="create_pause",
        status_code=201,
        responses=CREATE_PAUSE,
    )
    add(
        PAUSES,
        calls.list_pauses,
        operation_id="list_pauses",
        dependencies=[Depends(refuse_repeats)],
        responses=LIST_PAUSES,
    )
    add(f"{PAUSES}/{{pause_id}}", calls.end_pause, methods=["DELETE"], operation_id="end_pause", responses=END_PAUSE)
