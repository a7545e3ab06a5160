from __future__ import annotations

from typing import Any

import fastapi.routing
import httpx2
import pytest
from fastapi.routing import APIRoute

from task_api.app import create_app
from task_api.direct_calls import DirectCall
from task_api.parts import ApiParts
from task_contracts.testing import an_id

TASK = {"name": "one", "type": "echo"}
DIRECT = {
    "create_task",
    "create_tasks",
    "get_task",
    "get_task_status",
    "cancel_task",
    "update_task",
    "rerun_task",
    "list_attempts",
}


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests whose parameters FastAPI has resolved."""
    resolved: list[str] = []
    resolve = fastapi.routing.solve_dependencies

    async def noted(*, request: Any, **options: Any) -> Any:
        resolved.append(request.url.path)
        return await resolve(request=request, **options)

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", noted)
    return resolved


async def test_the_calls_of_one_task_are_direct(parts: ApiParts) -> None:
    routes = [route for route in create_app(parts).routes if isinstance(route, APIRoute)]

    direct = {route.operation_id for route in routes if DirectCall.of(route) is not None}

    assert direct >= DIRECT
    assert not direct & {"list_tasks", "list_task_events"}


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/api/v1/tasks", {"json": TASK}),
        ("POST", "/api/v1/tasks", {"json": TASK, "headers": {"Idempotency-Key": "k", "Prefer": "wait=1"}}),
        ("POST", "/api/v1/tasks/batch", {"json": {"tasks": [TASK]}}),
        ("GET", f"/api/v1/tasks/{an_id()}", {"headers": {"If-None-Match": "*"}}),
        ("PATCH", f"/api/v1/tasks/{an_id()}", {"json": {"priority": "HIGH"}, "headers": {"If-Match": '"1"'}}),
    ],
)
async def test_a_valid_request_does_not_pass_through_fastapi(
    client: httpx2.AsyncClient, resolved: list[str], method: str, path: str, sent: Any
) -> None:
    answer = await client.request(method, path, **sent)

    assert answer.status_code == 503  # there is no database
    assert resolved == []


@pytest.mark.parametrize(
    ("method", "path", "sent", "field"),
    [
        ("POST", "/api/v1/tasks", {"json": {"name": 1}}, "body.name"),
        ("POST", "/api/v1/tasks", {}, "body"),
        ("POST", "/api/v1/tasks/batch", {}, "body"),
        ("POST", "/api/v1/tasks", {"json": TASK, "headers": {"Idempotency-Key": "a b"}}, "header.Idempotency-Key"),
        ("GET", "/api/v1/tasks/x", {}, "path.task_id"),
    ],
)
async def test_what_is_wrong_is_said_by_fastapi(
    client: httpx2.AsyncClient, resolved: list[str], method: str, path: str, sent: Any, field: str
) -> None:
    answer = await client.request(method, path, **sent)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert resolved == [path]


async def test_a_header_that_may_be_repeated_is_a_list_and_another_is_the_first(
    parts: ApiParts, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noted(prefer: Any) -> None:
        given.append(prefer)

    monkeypatch.setattr("task_api.routes.tasks.wait_seconds", noted)
    headers = [("prefer", "respond-async"), ("prefer", "wait=3")]

    await client.get(f"/api/v1/tasks/{an_id()}", headers=headers)
    await client.get(f"/api/v1/tasks/{an_id()}")

    assert given == [["respond-async", "wait=3"], None]
