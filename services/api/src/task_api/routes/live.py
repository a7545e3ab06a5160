"""The calls that say what happens and why: why a task is where it is, who works, what is on offer, what runs here."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import partial
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from task_api import examples
from task_api.bodies import strict_route
from task_api.deadlines import answer_within
from task_api.explanations import explain, needs_wait
from task_api.openapi import VERSION, answer, errors
from task_api.parts import ApiParts
from task_api.problems import task_not_found, unavailable
from task_api.routes.answers import API, json_answer
from task_contracts import Explanation, ItemList, TypeInfo, Version, WorkerInfo
from task_store import LiveWorkers, Situations, StoreError


class LiveCalls:
    """The calls, one method each. Each answers within `Deadlines.request_seconds`."""

    def __init__(self, parts: ApiParts) -> None:
        self._live = LiveWorkers(parts.callers)
        self._situations = Situations(parts.callers)
        self._database = parts.callers
        self._deadlines = parts.deadlines

    async def explain_task(self, task_id: UUID) -> Response:
        """Say in one sentence why a task is where it is, with the facts behind it."""
        found = await answer_within(self._deadlines.request_seconds, self._explanation(task_id))
        if found is None:
            raise task_not_found(task_id)
        return json_answer(found.model_dump_json())

    async def list_workers(self) -> Response:
        """List the live workers, the oldest first: where they run, what they take, and how much they have."""
        workers = await answer_within(self._deadlines.request_seconds, self._live.workers())
        return json_answer(ItemList[WorkerInfo].model_construct(items=workers).model_dump_json())

    async def list_types(self) -> Response:
        """List the types on offer with the JSON Schemas of their payloads, each version of a type by itself.

        Of a type that no live worker offers any more the latest version is listed for 7 days.
        """
        types = await answer_within(self._deadlines.request_seconds, self._live.types())
        return json_answer(ItemList[TypeInfo].model_construct(items=types).model_dump_json())

    async def get_version(self) -> Response:
        """Say which version runs here, whatever the database does."""
        revision = None
        with suppress(StoreError, TimeoutError):
            revision = await answer_within(self._deadlines.check_seconds, self._database.revision())
        return json_answer(
            Version(version=VERSION, python=platform.python_version(), schema_revision=revision).model_dump_json()
        )

    async def _explanation(self, task_id: UUID) -> Explanation | None:
        task = await self._situations.of(task_id)
        if task is None:
            return None
        return explain(task, await self._situations.wait(task) if needs_wait(task) else None)


def add_live_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the calls to the application's own router."""
    calls = LiveCalls(parts)
    add = partial(
        router.add_api_route, tags=["insight"], route_class_override=strict_route(parts.deadlines.body_seconds)
    )
    add(
        f"{API}/tasks/{{task_id}}/explain",
        calls.explain_task,
        operation_id="explain_task",
        responses={
            200: answer(Explanation, "Why it is where it is", examples.EXPLANATION),
            **errors(examples.UNKNOWN_TASK, examples.WRONG_ID, unavailable()),
        },
    )
    add(
        f"{API}/workers",
        calls.list_workers,
        operation_id="list_workers",
        responses={200: answer(ItemList[WorkerInfo], "The live workers", examples.WORKERS), **errors(unavailable())},
    )
    add(
        f"{API}/types",
        calls.list_types,
        operation_id="list_types",
        responses={200: answer(ItemList[TypeInfo], "The types on offer", examples.TYPES), **errors(unavailable())},
    )
    add(
        f"{API}/version",
        calls.get_version,
        operation_id="get_version",
        responses={200: answer(Version, "What runs here", examples.VERSIONS)},
    )
