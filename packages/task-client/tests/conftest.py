"""Fixtures: one runs each test with both clients, one is a real HTTP server in front of a fake service."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from task_client import AsyncTaskClient, BackOff, Problem, RepeatPolicy, TaskClient
from task_client.testing import FakeService
from task_contracts import PROBLEM_MEDIA_TYPE

Answer = Callable[[httpx2.Request], httpx2.Response]
A_BASE_URL = "http://service.test"
SOON = RepeatPolicy(back_off=BackOff(first_seconds=0.001, longest_seconds=0.002))


class Talk:
    """A client of either kind: its methods are awaited, its lists are collected."""

    def __init__(self, client: TaskClient | AsyncTaskClient) -> None:
        self.client = client

    async def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        result = getattr(self.client, method)(*args, **options)
        return await result if inspect.isawaitable(result) else result

    async def take(self, count: int | None = None, **filters: Any) -> list[Any]:
        """Return the first `count` tasks of `list`, or all of them."""
        return await self.first(count, "list", **filters)

    async def first(self, count: int | None, method: str, *args: Any, **options: Any) -> list[Any]:
        """Return the first `count` items of what a method yields, or all of them."""
        taken: list[Any] = []
        tasks = getattr(self.client, method)(*args, **options)
        if isinstance(tasks, AsyncIterator):
            while count is None or len(taken) < count:
                try:
                    taken.append(await anext(tasks))
                except StopAsyncIteration:
                    break
            await tasks.aclose()  # type: ignore[attr-defined] # it is an asynchronous generator
            return taken
        while count is None or len(taken) < count:
            try:
                taken.append(next(tasks))
            except StopIteration:
                break
        tasks.close()
        return taken

    async def close(self) -> None:
        closed = self.client.close() if isinstance(self.client, TaskClient) else self.client.aclose()
        if closed is not None:
            await closed


@pytest.fixture(params=[TaskClient, AsyncTaskClient], ids=["sync", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Talk]]:
    """Return what makes a client: `connect(base_url, **options)`, or `connect(answer=...)` without a network."""
    async with AsyncExitStack() as stack:

        def make(base_url: str = A_BASE_URL, *, answer: Answer | None = None, **options: Any) -> Talk:
            if answer is not None:
                options["transport"] = httpx2.MockTransport(answer)
            talk = Talk(request.param(base_url, repeats=SOON, **options))
            stack.push_async_callback(talk.close)
            return talk

        yield make


class HttpService(ThreadingHTTPServer):
    """A real HTTP server in front of a fake service.

    `trouble` says what happens to the next requests: "hang up" (before it is done, or "hang up after" that), "hang",
    "proxy" (a page), "unavailable", "internal", "cut" (a stream, after its first bytes), "buffer" (a stream: nothing
    comes before its end). `connections` are the ports of the client so far; `release` ends the requests that hang.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, fake: FakeService, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fake = fake
        self.requests: list[str] = []
        self.trouble: list[str] = []
        self.connections: set[int] = set()
        self.release = threading.Event()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def stop(self) -> None:
        """End as a killed process does: every connection is cut."""
        self.release.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address  # a client that goes away is part of these tests


class _Handler(BaseHTTPRequestHandler):
    server: HttpService
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two packets cost a delayed acknowledgement each time

    def handle_one_request(self) -> None:
        self.server.connections.add(self.client_address[1])
        super().handle_one_request()

    def answer_any(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        trouble = self.server.trouble.pop(0) if self.server.trouble else ""
        if trouble == "hang":
            self.server.release.wait(30)
        if trouble in {"hang", "hang up"}:
            self.close_connection = True
        elif trouble in _ANSWERS:
            self.send(_ANSWERS[trouble]())
        else:
            self.ask_fake(body, trouble)

    def ask_fake(self, body: bytes, trouble: str) -> None:
        url = f"{self.server.url}{self.path}"
        request = httpx2.Request(self.command, url, headers=list(self.headers.items()), content=body)
        answer = self.server.fake.answer(request)
        if trouble == "hang up after":
            self.close_connection = True
        elif answer.headers.get("content-type") == "text/event-stream":
            self.send_stream(answer, trouble)
        else:
            self.send(answer)

    do_GET = do_POST = do_DELETE = do_PATCH = answer_any  # noqa: N815 # names of the standard library

    def send(self, answer: httpx2.Response) -> None:
        body = answer.read()
        self.send_response(answer.status_code)
        for name, value in {**answer.headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_stream(self, answer: httpx2.Response, trouble: str) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with contextlib.closing(answer):
            for chunk in answer.iter_raw():
                self.wfile.write(chunk)
                if trouble == "buffer":
                    continue
                self.wfile.flush()
                if trouble == "cut":
                    return

    def log_message(self, *_: Any) -> None:
        pass


def _page() -> httpx2.Response:
    return httpx2.Response(502, text="<html>bad gateway</html>", headers={"content-type": "text/html"})


def _refusal(status: int, code: str) -> httpx2.Response:
    content = Problem(title="t", status=status, detail="d", code=code).model_dump_json()
    return httpx2.Response(status, content=content, headers={"content-type": PROBLEM_MEDIA_TYPE})


_ANSWERS: dict[str, Callable[[], httpx2.Response]] = {
    "proxy": _page,
    "unavailable": lambda: _refusal(503, "unavailable"),
    "internal": lambda: _refusal(500, "internal_error"),
}


@pytest.fixture
def fake() -> FakeService:
    return FakeService({"echo": lambda payload: payload})


@pytest.fixture
def serve(fake: FakeService) -> Iterator[Callable[..., HttpService]]:
    """Return what starts a server in front of `fake`, at a port if one is given."""
    with contextlib.ExitStack() as stack:

        def start(port: int = 0) -> HttpService:
            server = HttpService(fake, port)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def service(serve: Callable[..., HttpService]) -> HttpService:
    return serve()
