"""Bodies that nobody wants, from clients that read an answer only after they have sent everything."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from task_api.app import create_app
from task_api.parts import ApiParts
from task_api.server import listen, serve
from task_contracts import Problem

SECONDS = 15

Sent = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture
async def port(parts: ApiParts) -> AsyncIterator[int]:
    """The port of the application on a real socket."""
    listener, hurry = listen("127.0.0.1", 0), asyncio.Event()
    port = listener.socket.getsockname()[1]
    serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, hurry))
    yield port
    parts.stop.set()
    hurry.set()
    async with asyncio.timeout(SECONDS):
        await serving


@pytest.fixture
def sent(port: int) -> Sent:
    """Send bytes, and read until the server closes the connection."""

    async def answer(request: bytes) -> bytes:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            try:
                return await reader.read()
            finally:
                writer.close()

    return answer


def _post(url: str, size: int) -> tuple[int, bytes]:
    request = urllib.request.Request(url, b"x" * size, {"Content-Type": "application/json"})  # it is http
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=SECONDS)  # as above
    with raised.value as answer:
        return answer.code, answer.read()


@pytest.mark.parametrize("size", [1_100_000, 30_000_000])
@pytest.mark.parametrize(("path", "status"), [("/api/v1/tasks", 413), ("/nothing", 404), ("/docs", 405)])
async def test_plain_client_reads_the_answer_to_a_body_that_is_not_wanted(
    port: int, path: str, status: int, size: int
) -> None:
    answers = [await asyncio.to_thread(_post, f"http://127.0.0.1:{port}{path}", size) for _ in range(3)]

    assert [(code, Problem.model_validate_json(body).status) for code, body in answers] == [(status, status)] * 3


async def test_connection_is_closed_after_413(sent: Sent) -> None:
    answer = await sent(_head("POST /api/v1/tasks", 1_100_000) + b"x" * 1_100_000)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


@pytest.mark.parametrize("request_line", ["POST /nothing", "GET /health/live"])
async def test_body_that_does_not_come_is_not_waited_for_and_the_connection_is_closed(
    sent: Sent, request_line: str
) -> None:
    answer = await sent(_head(request_line, 100) + b"x")

    assert answer.split()[1] == (b"404" if "nothing" in request_line else b"200")
    assert b"connection: close" in answer


async def test_caller_that_asks_first_is_not_asked_for_a_body_that_is_too_large(sent: Sent) -> None:
    answer = await sent(_head("POST /api/v1/tasks", 1_100_000, "expect: 100-continue"))

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


async def test_connection_is_kept_after_a_body_that_was_dropped_in_full(sent: Sent) -> None:
    last = b"GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"

    answers = await sent(_head("POST /nothing", 2) + b"{}" + last)

    assert answers.count(b"HTTP/1.1 404") == 2


def _head(request_line: str, size: int, *headers: str) -> bytes:
    lines = [f"{request_line} HTTP/1.1", "host: localhost", f"content-length: {size}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()
