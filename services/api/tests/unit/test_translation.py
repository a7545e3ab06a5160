from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from structlog.testing import capture_logs

from task_contracts import Problem
from task_contracts.testing import an_id
from task_store import ContentionError, DatabaseUnavailableError, SchemaMismatchError, StoreError, UnstorableValuesError

OpenClient = Callable[[BaseException], httpx2.AsyncClient]
A_TASK = "/api/v1/tasks/0199e2a4-5f00-7000-8000-000000000001"


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError("the database does not answer"),
        ContentionError("another transaction was in the way", sqlstate="40P01"),
        SchemaMismatchError("the schema does not fit this version"),
        TimeoutError("no answer within 4.5 s"),
        StoreError("unexpected database error", sqlstate="ZZ999"),
    ],
)
async def test_trouble_with_the_database_says_when_to_try_again(client_over: OpenClient, error: Exception) -> None:
    with capture_logs():  # drawing a traceback takes seconds where logs are not set up
        async with client_over(error) as client:
            answer = await client.get(f"/api/v1/tasks/{an_id()}")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert Problem.model_validate_json(answer.content).code == "unavailable"


async def test_the_log_says_why_there_was_no_database_even_where_the_error_has_no_text(client_over: OpenClient) -> None:
    with capture_logs() as lines:
        async with client_over(TimeoutError()) as client:
            await client.get(f"/api/v1/tasks/{an_id()}")

    assert [line["reason"] for line in lines if line["event"] == "request_without_database"] == ["TimeoutError"]


async def test_a_value_that_only_the_database_refuses_is_the_callers_to_change(client_over: OpenClient) -> None:
    error = UnstorableValuesError("the row (1, hunter2) is wrong", sqlstate="23514", constraint="ck_tasks_secret")
    async with client_over(error) as client:
        answer = await client.post("/api/v1/tasks", json={"name": "a"})

    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_error"
    assert "hunter2" not in answer.text
    assert "ck_tasks" not in answer.text


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1", "/api/v1/tasks/", "/health", "//", "/api/v1/tasks/a/b"])
async def test_a_path_that_is_none_is_a_problem_too(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.status_code == 404
    assert Problem.model_validate_json(answer.content).code == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/v1/tasks", "GET, HEAD, POST"),
        ("DELETE", "/api/v1/tasks", "GET, HEAD, POST"),
        ("POST", A_TASK, "DELETE, GET, HEAD, PATCH"),
        ("GET", "/api/v1/tasks/cancel", "POST"),
        ("DELETE", "/api/v1/tasks/rerun", "POST"),
        ("PUT", f"{A_TASK}/rerun", "POST"),
        *((method, "/api/v1/tasks/batch", "POST") for method in ("GET", "HEAD", "PUT", "DELETE")),
        ("OPTIONS", f"{A_TASK}/status", "GET, HEAD"),
        ("TRACE", "/health/live", "GET, HEAD"),
        ("POST", "/health/ready", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("BREW", "/openapi.json", "GET, HEAD"),
        ("PUT", "/assets/icon.svg", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_answered_with_those_that_it_does(
    client: httpx2.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    assert answer.headers["content-type"] == "application/problem+json"
