from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from task_contracts.testing import an_id

OpenClient = Callable[[BaseException], httpx2.AsyncClient]


async def test_the_callers_request_id_comes_back(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/health/live", headers={"x-request-id": "order-42"})

    assert answer.headers["x-request-id"] == "order-42"


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "a\tb"])
async def test_an_id_that_could_confuse_a_log_is_replaced(client: httpx2.AsyncClient, given: str) -> None:
    answer = await client.get("/health/live", headers={"x-request-id": given})

    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/health/live", "/nothing", "/docs", "/api/v1/tasks/x"])
async def test_no_browser_may_guess_a_type(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_a_request_is_one_line_with_its_route_and_nothing_that_was_sent(client: httpx2.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/api/v1/tasks/hunter2?secret=hunter2")

    (line,) = lines
    assert {name: line[name] for name in ("event", "method", "route", "status", "log_level")} == {
        "event": "request",
        "method": "GET",
        "route": "/api/v1/tasks/{task_id}",
        "status": 422,
        "log_level": "info",
    }
    assert "hunter2" not in str(line)


async def test_the_line_of_an_error_says_why_with_names_of_fields_and_no_values(client: httpx2.AsyncClient) -> None:
    body = {
        "nmae": "hunter2",
        "priority": "hunter2",
        "labels": "hunter2",
        "payload": "hunter2",
        "max_attempts": "hunter2",
    }
    with capture_logs() as lines:
        await client.post("/api/v1/tasks", json=body)
        await client.get("/nothing")
        await client.get("/health/live")

    invalid, missing, well = lines
    assert (invalid["status"], invalid["code"]) == (422, "validation_error")
    assert invalid["fields"] == ["body.name", "body.priority", "body.labels"]
    assert (missing["status"], missing["code"]) == (404, "not_found")
    assert "fields" not in missing
    assert "code" not in well
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize("path", ["/health/live", "/assets/icon.svg"])
async def test_what_is_asked_all_the_time_is_quiet(client: httpx2.AsyncClient, path: str) -> None:
    with capture_logs() as lines:
        await client.get(path)

    assert [line["log_level"] for line in lines] == ["debug"]


async def test_a_fault_of_ours_is_a_problem_without_internals_and_logged_once(client_over: OpenClient) -> None:
    with capture_logs() as lines:
        async with client_over(RuntimeError("password=hunter2")) as client:
            answer = await client.get(f"/api/v1/tasks/{an_id()}", headers={"x-request-id": "r1"})

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "r1"
    assert answer.json()["code"] == "internal_error"
    assert "hunter2" not in answer.text
    assert [line["event"] for line in lines] == ["request_failed", "request"]


async def test_a_stream_that_breaks_off_is_not_answered_twice(client: httpx2.AsyncClient) -> None:
    from task_api.request_middleware import RequestMiddleware

    sent: list[dict[str, Any]] = []

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        await RequestMiddleware(breaks)({"type": "http", "method": "GET", "headers": []}, None, send)

    assert [message["type"] for message in sent] == ["http.response.start"]
