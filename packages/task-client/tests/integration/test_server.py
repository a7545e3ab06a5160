"""Both clients against a real HTTP server on this machine: connections, timeouts and failures."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from task_client import (
    ConnectionFailedError,
    NotFoundError,
    RequestTimeoutError,
    TaskClient,
    TaskFinishedError,
    UnavailableError,
    UnexpectedAnswerError,
    ValidationFailedError,
    WaitTimeoutError,
)
from task_contracts import PROBLEM_MEDIA_TYPE, Problem, Task, TaskCreate, TaskStatus
from task_contracts.testing import a_task, an_id

STATUS_CALLS_TO_THE_END = 3
LISTED_TASKS = 5_000


class Service(ThreadingHTTPServer):
    """A few calls of the REST API over tasks in memory; a task ends once its state was requested three times.

    `trouble` says what happens to the next requests: "hang up", "hang", "proxy", "unavailable". `connections` are the
    ports of the client so far; `release` ends the requests that hang.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tasks: dict[UUID, Task] = {}
        self.status_calls = 0
        self.requests: list[str] = []
        self.trouble: list[str] = []
        self.connections: set[int] = set()
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two packets cost a delayed acknowledgement each time

    def handle_one_request(self) -> None:
        self.server.connections.add(self.client_address[1])
        super().handle_one_request()

    def answer_any(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        match self.server.trouble.pop(0) if self.server.trouble else "":
            case "hang up":
                self.close_connection = True
            case "hang":
                self.server.release.wait(30)
                self.close_connection = True
            case "proxy":
                self.send(502, b"<html>bad gateway</html>", "text/html")
            case "unavailable":
                self.refuse(503, "unavailable")
            case _:
                self.answer(body)

    do_GET = do_POST = do_DELETE = answer_any  # noqa: N815 # names of the standard library

    def answer(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        if path == "/health/live":
            self.send(200, b'{"status": "ok"}')
        elif path == "/api/v1/tasks":
            self.create(body) if self.command == "POST" else self.page()
        else:
            task_id = UUID(path.split("/")[4])
            task = self.server.tasks.get(task_id)
            if task is None:
                self.refuse(404, "task_not_found")
            elif self.command == "DELETE":
                self.cancel(task)
            else:
                self.show(task, is_status_call=path.endswith("/status"))

    def create(self, body: bytes) -> None:
        asked = TaskCreate.model_validate_json(body)
        if asked.queue != "default":
            return self.refuse(422, "unknown_queue")
        task = a_task(name=asked.name, payload=asked.payload, priority=asked.priority)
        self.server.tasks[task.id] = task
        return self.send(201, task.model_dump_json().encode())

    def show(self, task: Task, is_status_call: bool) -> None:
        self.server.status_calls += is_status_call
        if self.server.status_calls >= STATUS_CALLS_TO_THE_END:
            task = task.model_copy(update={"status": TaskStatus.COMPLETED, "result": task.payload})
            self.server.tasks[task.id] = task
        self.send(200, task.model_dump_json().encode())

    def cancel(self, task: Task) -> None:
        if task.status is TaskStatus.COMPLETED:
            return self.refuse(409, "task_finished")
        cancelled = task.model_copy(update={"status": TaskStatus.CANCELLED})
        self.server.tasks[task.id] = cancelled
        return self.send(200, cancelled.model_dump_json().encode())

    def page(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        begin, limit = int(asked.get("cursor", ["0"])[0]), int(asked.get("limit", ["50"])[0])
        end = min(begin + limit, LISTED_TASKS)
        items = [a_task(name=f"task {i}").model_dump(mode="json") for i in range(begin, end)]
        self.send(200, json.dumps({"items": items, "next_cursor": str(end) if end < LISTED_TASKS else None}).encode())

    def refuse(self, status: int, code: str) -> None:
        problem = Problem(title="t", status=status, detail="d", code=code)
        self.send(status, problem.model_dump_json().encode(), PROBLEM_MEDIA_TYPE)

    def send(self, status: int, body: bytes, media_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield service
        service.release.set()
        service.shutdown()
        thread.join()


async def test_a_task_is_created_waited_for_and_read(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task", payload={"text": "grüße 😀"}))
    ended = await client("wait", created.id, timeout_seconds=30)

    assert (ended.status, ended.result) == (TaskStatus.COMPLETED, {"text": "grüße 😀"})
    assert service.status_calls == STATUS_CALLS_TO_THE_END
    with pytest.raises(TaskFinishedError):
        await client("cancel", created.id)


async def test_a_waiting_task_is_cancelled_twice(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task"))

    assert (await client("cancel", created.id)).status is TaskStatus.CANCELLED
    assert (await client("cancel", created.id)).status is TaskStatus.CANCELLED


async def test_refusals_are_told_apart(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)

    with pytest.raises(NotFoundError):
        await client("status", an_id())
    with pytest.raises(ValidationFailedError):
        await client("create", TaskCreate(name="a task", queue="elsewhere"))


async def test_calls_one_after_another_share_a_connection(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)
    for _ in range(20):
        await client("health")

    assert len(service.connections) == 1


async def test_thousands_of_tasks_are_listed(connect: Callable[..., Any], service: Service) -> None:
    tasks = await connect(service.url).take(limit=200)

    assert len(tasks) == LISTED_TASKS
    assert (tasks[0].name, tasks[-1].name) == ("task 0", f"task {LISTED_TASKS - 1}")
    assert len(service.requests) == LISTED_TASKS / 200


async def test_who_takes_the_first_tasks_only_costs_one_page(connect: Callable[..., Any], service: Service) -> None:
    await connect(service.url).take(10, limit=200)

    assert len(service.requests) == 1


async def test_a_create_whose_connection_is_lost_may_have_been_done(
    connect: Callable[..., Any], service: Service
) -> None:
    service.trouble = ["hang up"]
    with pytest.raises(ConnectionFailedError) as raised:
        await connect(service.url)("create", TaskCreate(name="a task"))

    assert not raised.value.is_repeat_safe
    assert len(service.requests) == 1


async def test_reading_goes_on_over_lost_connections_and_proxies(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task"))
    service.trouble = ["hang up", "proxy"]

    assert (await client("get", created.id)).id == created.id
    assert len(service.requests) == 4


async def test_waiting_goes_on_over_trouble_that_passes(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task"))
    service.trouble = ["hang up", "proxy", "unavailable"]

    assert (await client("wait", created.id, timeout_seconds=30)).status is TaskStatus.COMPLETED


async def test_a_service_that_does_not_answer_costs_no_more_than_the_timeout(
    connect: Callable[..., Any], service: Service
) -> None:
    service.trouble = ["hang"] * 2
    client = connect(service.url, timeout_seconds=0.2)

    with pytest.raises(RequestTimeoutError) as read:
        await client("get", an_id())
    with pytest.raises(RequestTimeoutError) as created:
        await client("create", TaskCreate(name="a task"))

    assert read.value.is_repeat_safe
    assert not created.value.is_repeat_safe
    assert len(service.requests) == 2


async def test_a_wait_that_ends_too_early_tells_the_last_state(connect: Callable[..., Any], service: Service) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task"))
    with pytest.raises(WaitTimeoutError) as raised:
        await client("wait", created.id, timeout_seconds=0)

    assert raised.value.last is not None
    assert raised.value.last.status is TaskStatus.NEW


async def test_where_nobody_listens_nothing_was_done(connect: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ConnectionFailedError) as raised:
        await connect(url)("create", TaskCreate(name="a task"))

    assert raised.value.is_repeat_safe


async def test_another_server_is_told_from_the_service(connect: Callable[..., Any], service: Service) -> None:
    service.trouble = ["proxy"]
    with pytest.raises(UnexpectedAnswerError, match="bad gateway"):
        await connect(service.url)("health")

    service.trouble = ["unavailable"]
    with pytest.raises(UnavailableError):
        await connect(service.url)("health")


def test_threads_share_a_client(service: Service) -> None:
    with TaskClient(service.url) as client, ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda i: client.create(TaskCreate(name=f"task {i}")), range(100)))

    assert {task.name for task in created} == {f"task {i}" for i in range(100)}
    assert len(service.tasks) == 100
    assert len(service.connections) <= 8
