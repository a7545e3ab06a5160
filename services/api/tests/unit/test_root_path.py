from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from task_api.app import create_app
from task_api.parts import ApiParts
from task_contracts import Problem

Below = Callable[[str], httpx2.AsyncClient]


@pytest.fixture
def below(parts: ApiParts) -> Below:
    """Open a client of the application with this root path."""

    def opened(root_path: str) -> httpx2.AsyncClient:
        app = create_app(replace(parts, settings=parts.settings.model_copy(update={"root_path": root_path})))
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")

    return opened


@pytest.mark.parametrize("root_path", ["/tasks-service", "/a/b", "/api", "/api/v1", "/health", "/health/live", "/docs"])
@pytest.mark.parametrize("path", ["/health/live", "/docs", "/redoc", "/openapi.json", "/assets/icon.svg"])
async def test_every_path_is_there_with_the_root_path_and_without(below: Below, root_path: str, path: str) -> None:
    async with below(root_path) as client:
        answers = [await client.get(one) for one in (path, root_path + path)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize("root_path", ["/tasks-service", "/api", "/api/v1"])
async def test_calls_on_tasks_are_found_with_and_without(below: Below, root_path: str) -> None:
    async with below(root_path) as client:
        for prefix in ("", root_path):
            answer = await client.get(f"{prefix}/api/v1/tasks/x")
            assert Problem.model_validate_json(answer.content).errors[0].field == "path.task_id"
            answer = await client.put(f"{prefix}/api/v1/tasks")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    "path",
    [
        *["/tasks-service", "/tasks-service/", "/tasks-service/nothing", "/tasks-service/tasks-service/docs"],
        *["/tasks-servicedocs", "/tasks-service//docs", "/other/docs", "/", "//docs", "/tasks-service/%2e%2e/docs"],
    ],
)
async def test_other_paths_are_404(below: Below, path: str) -> None:
    async with below("/tasks-service") as client:
        answer = await client.get(httpx2.URL("http://test", raw_path=path.encode()))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(("root_path", "servers"), [("/tasks-service", [{"url": "/tasks-service"}]), ("", None)])
async def test_the_document_says_where_the_api_is(below: Below, root_path: str, servers: Any) -> None:
    async with below(root_path) as client:
        document = (await client.get("/openapi.json")).json()

    assert document.get("servers") == servers
    assert "/api/v1/tasks" in document["paths"]
