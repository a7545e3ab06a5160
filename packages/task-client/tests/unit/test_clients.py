"""Both clients over a transport that the test gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from task_client import (
    AsyncTaskClient,
    ConnectionFailedError,
    HealthStatus,
    NotFoundError,
    Priority,
    RequestTimeoutError,
    TaskFinishedError,
    UnavailableError,
    ValidationFailedError,
)
from task_client.testing import FakeService
from task_contracts import PROBLEM_MEDIA_TYPE, Problem, Task, TaskCreate, TaskPage, TaskStatus, TaskSummary, View
from task_contracts.testing import a_task, an_id

JSON = {"content-type": "application/json"}


def shown(body: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, content=body.model_dump_json(), headers=JSON)


def problem(status: int, code: str) -> httpx2.Response:
    body = Problem(title="t", status=status, detail="d", code=code).model_dump_json()
    return httpx2.Response(status, content=body, headers={"content-type": PROBLEM_MEDIA_TYPE})


class Service:
    """Records requests, and returns its answers in turn, the last one again and again."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.requests: list[httpx2.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_create_posts_json_and_returns_the_task(connect: Callable[..., Any]) -> None:
    task = a_task()
    service = Service(shown(task, 201))

    assert await connect(answer=service)("create", TaskCreate(name="a task")) == task

    (request,) = service.requests
    assert (request.method, str(request.url)) == ("POST", "http://service.test/api/v1/tasks")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"name": "a task"}


@pytest.mark.parametrize("base_url", ["http://service.test/prefix", "http://service.test/prefix/"])
async def test_a_path_of_the_base_url_is_kept(connect: Callable[..., Any], base_url: str) -> None:
    service = Service(shown(a_task()))
    await connect(base_url, answer=service)("get", an_id())

    assert service.requests[0].url.path.startswith("/prefix/api/v1/tasks/")


async def test_a_request_says_who_asks_and_what_it_reads(connect: Callable[..., Any]) -> None:
    service = Service(shown(a_task()))
    await connect(answer=service)("get", an_id())

    headers = service.requests[0].headers
    assert headers["user-agent"].startswith("task-client/0.")
    assert headers["accept"] == "application/json, application/problem+json"


async def test_a_request_is_given_the_clients_timeout(connect: Callable[..., Any]) -> None:
    service = Service(shown(a_task()))
    await connect(answer=service, timeout_seconds=3)("get", an_id())

    assert set(service.requests[0].extensions["timeout"].values()) == {3}


@pytest.mark.parametrize("status", [200, 202])
async def test_cancel_returns_the_task_whether_it_was_cancelled_or_asked_to_stop(
    connect: Callable[..., Any], status: int
) -> None:
    task = a_task(status=TaskStatus.CANCELLED)
    service = Service(shown(task, status))

    assert await connect(answer=service)("cancel", task.id) == task
    assert service.requests[0].method == "DELETE"


async def test_cancel_of_a_finished_task_is_an_error_of_its_own(connect: Callable[..., Any]) -> None:
    with pytest.raises(TaskFinishedError):
        await connect(answer=Service(problem(409, "task_finished")))("cancel", an_id())


async def test_a_task_that_does_not_exist_is_an_error_of_its_own(connect: Callable[..., Any]) -> None:
    with pytest.raises(NotFoundError):
        await connect(answer=Service(problem(404, "task_not_found")))("get", an_id())


async def test_status_is_read_from_its_own_address(connect: Callable[..., Any]) -> None:
    task = a_task(status=TaskStatus.IN_PROGRESS)
    service = Service(shown(task))
    state = await connect(answer=service)("status", str(task.id))

    assert (state.id, state.status) == (task.id, TaskStatus.IN_PROGRESS)
    assert service.requests[0].url.path == f"/api/v1/tasks/{task.id}/status"


async def test_reading_is_repeated_after_a_lost_connection(connect: Callable[..., Any]) -> None:
    task = a_task()
    service = Service(httpx2.ReadError("reset"), problem(503, "unavailable"), shown(task))

    assert await connect(answer=service)("get", task.id) == task
    assert len(service.requests) == 3


@pytest.mark.parametrize("trouble", [httpx2.ReadError("reset"), httpx2.ConnectError("refused")])
async def test_a_create_is_repeated_with_one_key(connect: Callable[..., Any], trouble: Exception) -> None:
    task = a_task()
    service = Service(trouble, trouble, problem(503, "unavailable"), shown(task, 201))

    assert await connect(answer=service)("create", TaskCreate(name="a")) == task

    keys = {request.headers["idempotency-key"] for request in service.requests}
    assert (len(service.requests), len(keys)) == (4, 1)


async def test_each_create_has_a_key_of_its_own(connect: Callable[..., Any]) -> None:
    service = Service(shown(a_task(), 201))
    client = connect(answer=service)
    for _ in range(2):
        await client("create", {"name": "a"})

    assert len({request.headers["idempotency-key"] for request in service.requests}) == 2


async def test_a_create_that_fails_names_the_key_with_which_its_caller_can_repeat_it(
    connect: Callable[..., Any],
) -> None:
    service = Service(httpx2.ReadTimeout("slow"))
    client = connect(answer=service)
    with pytest.raises(RequestTimeoutError) as raised:
        await client("create", TaskCreate(name="a"))
    with pytest.raises(RequestTimeoutError) as again:
        await client("create", TaskCreate(name="a"), key=raised.value.key)

    assert not raised.value.is_repeat_safe
    assert again.value.is_repeat_safe
    assert [request.headers["idempotency-key"] for request in service.requests] == [raised.value.key] * 2


async def test_an_unavailable_service_is_told_apart(connect: Callable[..., Any]) -> None:
    with pytest.raises(UnavailableError) as raised:
        await connect(answer=Service(problem(503, "unavailable")))("create", TaskCreate(name="a"))

    assert not raised.value.is_repeat_safe
    assert "POST http://service.test/api/v1/tasks" in str(raised.value)


async def test_headers_of_the_client_are_on_each_request(connect: Callable[..., Any]) -> None:
    service = Service(shown(a_task()))
    await connect(answer=service, headers={"X-Gate": "open"})("get", an_id())

    assert service.requests[0].headers["x-gate"] == "open"
    assert service.requests[0].headers["user-agent"].startswith("task-client/")


@pytest.mark.parametrize(
    "task",
    [
        {"name": "a", "priority": "HIGH", "payload": {"n": 1}},
        {"name": "a", "priority": Priority.HIGH, "payload": {"n": 1}},
        TaskCreate(name="a", priority=Priority.HIGH, payload={"n": 1}),
    ],
)
async def test_a_task_may_be_a_mapping(connect: Callable[..., Any], task: Any) -> None:
    service = Service(shown(a_task(), 201))
    await connect(answer=service)("create", task)
    await connect(answer=service)("create", name="a", priority=Priority.HIGH, payload={"n": 1})

    assert [json.loads(request.content) for request in service.requests] == [
        {"name": "a", "priority": "HIGH", "payload": {"n": 1}}
    ] * 2


async def test_a_wrong_mapping_is_refused_before_it_is_sent(connect: Callable[..., Any]) -> None:
    service = Service(shown(a_task(), 201))
    with pytest.raises(ValidationFailedError) as raised:
        await connect(answer=service)("create", {"name": "a", "payload": {"n": float("nan")}, "colour": "red"})

    assert {error.field for error in raised.value.errors} == {"body.payload", "body.colour"}
    assert service.requests == []


async def test_wait_returns_the_task_at_its_end(connect: Callable[..., Any]) -> None:
    end = a_task(status=TaskStatus.COMPLETED, result={"words": 7})
    service = Service(shown(a_task()), shown(end))

    assert await connect(answer=service)("wait", end.id, timeout_seconds=30) == end
    assert [request.url.path.rsplit("/", 1)[1] for request in service.requests] == ["status", "status", str(end.id)]


class Pages:
    """A service with many tasks, which makes each page when it is requested."""

    def __init__(self, count: int) -> None:
        self.requests: list[httpx2.Request] = []
        self._count = count

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        begin, limit = (int(request.url.params.get(name, default)) for name, default in (("cursor", 0), ("limit", 50)))
        end = min(begin + limit, self._count)
        items = [a_task(name=f"task {i}", payload={"i": i}) for i in range(begin, end)]
        cursor = str(end) if end < self._count else None
        if request.url.params.get("view") == "full":
            return shown(TaskPage[Task](items=items, next_cursor=cursor))
        summaries = [TaskSummary.model_validate(item.model_dump(mode="json")) for item in items]
        return shown(TaskPage[TaskSummary](items=summaries, next_cursor=cursor))


async def test_list_goes_through_all_pages_with_the_same_filters(connect: Callable[..., Any]) -> None:
    pages = Pages(450)
    tasks = await connect(answer=pages).take(queue="reports", status=[TaskStatus.NEW], limit=200)

    assert [task.name for task in tasks] == [f"task {i}" for i in range(450)]
    assert {type(task) for task in tasks} == {TaskSummary}
    assert [request.url.params.get("cursor") for request in pages.requests] == [None, "200", "400"]
    assert all(request.url.params.get("queue") == "reports" for request in pages.requests)
    assert all(request.url.params.get_list("status") == ["NEW"] for request in pages.requests)


async def test_list_asks_for_no_page_before_it_is_needed(connect: Callable[..., Any]) -> None:
    pages = Pages(1_000_000)
    tasks = await connect(answer=pages).take(60, limit=50)

    assert len(tasks) == 60
    assert len(pages.requests) == 2


async def test_list_shows_whole_tasks_where_that_is_asked_for(connect: Callable[..., Any]) -> None:
    tasks = await connect(answer=Pages(3)).take(view=View.FULL)

    assert [type(task) for task in tasks] == [Task] * 3
    assert tasks[2].payload == {"i": 2}


async def test_list_passes_an_empty_page_that_has_a_next_one(connect: Callable[..., Any]) -> None:
    empty = TaskPage[TaskSummary](items=[], next_cursor="more")
    task = TaskSummary.model_validate(a_task().model_dump(mode="json"))
    service = Service(shown(empty), shown(TaskPage[TaskSummary](items=[task])))

    assert await connect(answer=service).take() == [task]


async def test_list_of_nothing_is_empty(connect: Callable[..., Any]) -> None:
    assert await connect(answer=Pages(0)).take() == []


async def test_page_gives_one_page_with_its_total(connect: Callable[..., Any]) -> None:
    page = TaskPage[TaskSummary](items=[], next_cursor="more", total=10_000, total_is_capped=True)
    service = Service(shown(page))

    assert await connect(answer=service)("page", cursor="here", include_total=True, limit=1) == page
    assert dict(service.requests[0].url.params) == {"limit": "1", "include_total": "true", "cursor": "here"}


async def test_health_says_that_the_process_answers(connect: Callable[..., Any]) -> None:
    service = Service(httpx2.Response(200, json={"status": "ok"}))
    health = await connect(answer=service)("health")

    assert (health.status, health.is_ready, health.checks) == (HealthStatus.OK, True, {})
    assert str(service.requests[0].url) == "http://service.test/health/live"


@pytest.mark.parametrize(("trouble", "requests"), [(httpx2.ConnectError("refused"), 1), (httpx2.ReadError("reset"), 2)])
async def test_health_is_asked_for_once_but_for_a_dropped_connection(
    connect: Callable[..., Any], trouble: Exception, requests: int
) -> None:
    service = Service(trouble)
    for method in ("health", "ready"):
        with pytest.raises(ConnectionFailedError):
            await connect(answer=service)(method)

    assert len(service.requests) == 2 * requests


@pytest.mark.parametrize(
    ("code", "status", "is_ready"),
    [(200, "ok", True), (200, "degraded", True), (503, "unavailable", False), (503, "stopping", False)],
)
async def test_ready_returns_how_each_thing_is_even_where_that_is_bad(
    connect: Callable[..., Any], code: int, status: str, is_ready: bool
) -> None:
    checks = {"database": {"status": status, "detail": "why"}, "broker": {"status": "ok"}}
    service = Service(httpx2.Response(code, json={"status": status, "checks": checks}))
    health = await connect(answer=service)("ready")

    assert (health.status, health.is_ready) == (status, is_ready)
    assert health.checks["database"].detail == "why"
    assert len(service.requests) == 1


async def test_a_cancelled_call_stops_at_once_and_passes_the_cancellation_on() -> None:
    asked = asyncio.Event()

    async def never(_: httpx2.Request) -> httpx2.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with AsyncTaskClient("http://service.test", transport=httpx2.MockTransport(never)) as client:
        call = asyncio.create_task(client.wait(an_id(), timeout_seconds=60))
        async with asyncio.timeout(10):
            await asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_an_application_in_this_process_can_be_the_transport() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status": "ok"}'})

    async with AsyncTaskClient("http://service.test", transport=httpx2.ASGITransport(application)) as client:
        assert (await client.health()).is_ready


async def test_key_of_an_error_makes_a_repeat_of_all_tasks_safe(connect: Callable[..., Any]) -> None:
    fake = FakeService()
    tasks = [{"name": f"task {n}"} for n in range(1_500)]
    cut: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        answered = fake.answer(request)
        if len(json.loads(request.content)["tasks"]) == 500 and not cut:
            cut.append(request)
            raise httpx2.ReadTimeout("cut")
        return answered

    talk = connect(answer=answer)
    with pytest.raises(RequestTimeoutError, match="to repeat it safely, pass key=") as lost:
        await talk("create_many", tasks)
    again = await talk("create_many", tasks, key=lost.value.key)

    assert len(lost.value.created) == 1_000
    assert len(again) == len(fake.tasks) == 1_500
    assert [one.id for one in again[:1_000]] == [one.id for one in lost.value.created]


async def test_key_that_is_too_long_for_many_tasks_is_refused_before_any_request(connect: Callable[..., Any]) -> None:
    service = Service(httpx2.ConnectError("refused"))

    with pytest.raises(ValueError, match="at most 245 characters"):
        await connect(answer=service)("create_many", [{"name": "a"}] * 1_500, key="k" * 246)

    assert service.requests == []
