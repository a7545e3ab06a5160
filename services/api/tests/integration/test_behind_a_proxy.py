"""The API below a path behind a real proxy, one that takes the path off and one that leaves it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

from task_api.app import create_app
from task_api.parts import ApiParts
from task_api.server import listen, serve
from task_client import AsyncTaskClient
from task_contracts import TaskCreate

ROOT_PATH = "/tasks-service"
ASSET = re.compile(r'(?:href|src)="([^"]+)"')


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application over HTTP, and give its URL."""
    listener, stop = listen("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(serve(app, listener, stop, stop))
    try:
        yield listener.url
    finally:
        stop.set()
        await serving


@dataclass
class Proxy:
    """A reverse proxy, as nginx is one: passes on what is below the root path, and says for whom."""

    target: httpx2.AsyncClient
    takes_path_off: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.url.path
        if not path.startswith(f"{ROOT_PATH}/"):
            await Response("the proxy knows no such path", 404)(scope, receive, send)
            return
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        headers["x-forwarded-for"] = ", ".join(filter(None, [headers.get("x-forwarded-for"), "198.51.100.7"]))
        answer = await self.target.request(
            request.method,
            f"{path.removeprefix(ROOT_PATH) if self.takes_path_off else path}?{request.url.query}".rstrip("?"),
            content=await request.body(),
            headers=headers,
        )
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        await Response(answer.content, answer.status_code, kept)(scope, receive, send)


@pytest.fixture(params=[True, False], ids=["path taken off", "path left"])
async def url(
    request: pytest.FixtureRequest,
    open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]],
    database_url: str,
) -> AsyncIterator[str]:
    """The URL of the API, as it is outside of the proxy."""
    given: dict[str, Any] = {"root_path": ROOT_PATH, "trusted_proxies": "127.0.0.0/8"}
    async with (
        open_parts(database_url, **given) as parts,
        served(create_app(parts)) as inner,
        httpx2.AsyncClient(base_url=inner, timeout=30) as target,
        served(Proxy(target, takes_path_off=request.param)) as outer,
    ):
        yield outer


@pytest.fixture
async def outside(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        yield client


async def test_a_task_is_where_location_says(outside: httpx2.AsyncClient) -> None:
    created = await outside.post(f"{ROOT_PATH}/api/v1/tasks", json={"name": "a task"})
    read = await outside.get(created.headers["location"])

    assert created.status_code == 201
    assert created.headers["location"] == f"{ROOT_PATH}/api/v1/tasks/{created.json()['id']}"
    assert read.json() == created.json()


async def test_health_is_answered_below_the_path(outside: httpx2.AsyncClient) -> None:
    answers = [await outside.get(f"{ROOT_PATH}/health/{check}") for check in ("live", "ready")]

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("page", ["docs", "redoc"])
async def test_a_browser_finds_each_file_of_a_page_and_the_calls_of_its_document(
    outside: httpx2.AsyncClient, page: str
) -> None:
    shown = await outside.get(f"{ROOT_PATH}/{page}")
    files = [shown.url.join(name) for name in (*ASSET.findall(shown.text), "openapi.json")]
    answers = [await outside.get(file) for file in files]
    document = answers[-1].json()
    calls = shown.url.join(document["servers"][0]["url"] + "/api/v1/tasks")

    assert shown.status_code == 200
    assert len(files) >= 4
    assert [answer.status_code for answer in answers] == [200] * len(files)
    assert (await outside.get(calls)).json() == {
        "items": [],
        "next_cursor": None,
        "total": None,
        "total_is_capped": None,
    }


async def test_the_client_keeps_the_path_of_its_base_url(url: str) -> None:
    async with AsyncTaskClient(f"{url}{ROOT_PATH}") as client:
        created = await client.create(TaskCreate(name="a task"))
        read = await client.get(created.id)

    assert read == created


async def test_the_log_names_the_caller_of_the_proxy(outside: httpx2.AsyncClient) -> None:
    with capture_logs() as lines:
        await outside.get(f"{ROOT_PATH}/api/v1/tasks", headers={"x-forwarded-for": "1.1.1.1"})

    assert [line["client"] for line in lines if line["event"] == "request"] == ["198.51.100.7"]
