"""The fake service behaves as the real one, as far as a test of a caller can tell."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

import task_client.testing
from task_client import (
    AsyncTaskClient,
    ConflictError,
    KeyMismatchError,
    NotFoundError,
    Priority,
    RepeatPolicy,
    SortOrder,
    TaskChangedError,
    TaskClient,
    TaskFinishedError,
    TaskStatus,
    ValidationFailedError,
    View,
    WaitTimeoutError,
)
from task_client.testing import FakeService
from task_contracts import Problem
from task_contracts.testing import an_id

BASE = "http://service.test/api/v1"


@pytest.fixture(params=["sync", "async"])
async def ask(request: pytest.FixtureRequest, fake: FakeService) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Call a method of either client; what it yields is collected."""
    options: dict[str, Any] = {"repeats": RepeatPolicy(tries=1)}
    if request.param == "sync":
        with fake.client(**options) as client:

            async def ask_sync(method: str, *args: Any, **given: Any) -> Any:
                result = getattr(client, method)(*args, **given)
                return list(result) if hasattr(result, "__next__") else result

            yield ask_sync
        return
    async with fake.async_client(**options) as async_client:

        async def ask_async(method: str, *args: Any, **given: Any) -> Any:
            result = getattr(async_client, method)(*args, **given)
            return [item async for item in result] if hasattr(result, "__anext__") else await result

        yield ask_async


def test_all_is_complete() -> None:
    assert task_client.testing.__all__ == ["FakeService"]


async def test_a_task_of_a_type_with_a_function_ends_right_after_it_was_created(ask: Any, fake: FakeService) -> None:
    @fake.on("broken")
    def fail(payload: dict[str, Any]) -> None:
        raise KeyError(payload["what"])

    created = await ask("create", name="a", payload={"n": 1})
    broken = await ask("create", name="b", type="broken", payload={"what": "page"})

    assert (created.status, created.type) == (TaskStatus.NEW, "echo")
    ended, failed = await ask("get", created.id), await ask("get", broken.id)
    assert (ended.status, ended.result, ended.attempt) == (TaskStatus.COMPLETED, {"n": 1}, 1)
    assert ended.finished_at is not None
    assert (failed.status, failed.error.code, failed.error.type) == (TaskStatus.FAILED, "handler_error", "KeyError")
    assert "page" in failed.error.message


async def test_a_result_that_is_not_json_fails_the_task(ask: Any, fake: FakeService) -> None:
    fake.on("odd")(lambda _: {"set": {1}})

    task = await ask("get", (await ask("create", name="a", type="odd")).id)

    assert (task.status, task.error.code) == (TaskStatus.FAILED, "unstorable_result")


async def test_a_task_for_later_waits(ask: Any, fake: FakeService) -> None:
    task = await ask("create", name="a", run_at=datetime.now(UTC) + timedelta(hours=1))

    assert (await ask("status", task.id)).status is TaskStatus.NEW
    await ask("update", task.id, run_at="now")
    assert (await ask("status", task.id)).status is TaskStatus.COMPLETED


async def test_a_test_says_how_a_task_goes(ask: Any, fake: FakeService) -> None:
    task = await ask("create", name="a", type="slow")
    fake.begin(task.id)
    assert fake.progress(task.id, 50, "half").version == 3
    asked = await ask("cancel", task.id)
    assert (asked.status, asked.cancel_requested_at is None) == (TaskStatus.IN_PROGRESS, False)
    fake.fail(task.id)

    ended = await ask("wait", task.id, timeout_seconds=5)

    assert (ended.status, ended.progress.percent) == (TaskStatus.CANCELLED, 50)
    assert (await ask("rerun", task.id)).status is TaskStatus.PENDING
    assert fake.complete(task.id, "done").rerun_count == 1


async def test_what_the_life_cycle_forbids_is_refused(ask: Any, fake: FakeService) -> None:
    task = await ask("create", name="a")

    with pytest.raises(TaskFinishedError):
        await ask("cancel", task.id)
    with pytest.raises(ConflictError):
        await ask("rerun", task.id)
    with pytest.raises(ConflictError):
        await ask("update", task.id, priority=Priority.HIGH)
    with pytest.raises(NotFoundError):
        await ask("get", an_id())
    with pytest.raises(Exception, match="COMPLETED"):
        fake.begin(task.id)


async def test_a_key_is_one_task(ask: Any, fake: FakeService) -> None:
    first = await ask("create", name="a", type="slow", key="k")
    again = await ask("create", {"type": "slow", "name": "a"}, key="k")
    with pytest.raises(KeyMismatchError):
        await ask("create", name="b", key="k")
    with pytest.raises(KeyMismatchError):
        await ask("create_many", [{"name": "a", "type": "slow"}], key="k")
    with pytest.raises(ValidationFailedError):
        await ask("create", name="a", key="k" * 256)

    assert first.id == again.id
    assert [task.id for task in await ask("list", idempotency_key="k")] == [first.id]


async def test_a_batch_with_a_key_is_there_once_and_in_order(ask: Any, fake: FakeService) -> None:
    tasks = [{"name": str(n)} for n in range(1_200)]
    created = await ask("create_many", tasks, key="k")
    again = await ask("create_many", tasks, key="k")

    assert [task.id for task in created] == [task.id for task in again]
    found = await ask("list", idempotency_key="k", limit=200)
    assert [task.name for task in found] == [str(n) for n in range(1_000)]
    assert len(await ask("list", idempotency_key="k.2", limit=200)) == 200


async def test_of_a_batch_all_or_none_is_created(ask: Any, fake: FakeService) -> None:
    with pytest.raises(ValidationFailedError) as raised:
        await ask("create_many", [{"name": "a"}, {"name": "b", "queue": "nowhere"}])

    assert [error.field for error in raised.value.errors] == ["tasks.1.queue"]
    assert fake.tasks == []


async def test_lists_filter_and_page(ask: Any, fake: FakeService) -> None:
    for n in range(7):
        await ask("create", name=f"Page {n}", type="slow", labels={"n": str(n % 2)}, priority=Priority.HIGH)
    await ask("create", name="other")

    assert [task.name for task in await ask("list", labels={"n": "1"}, order=SortOrder.OLDEST, limit=2)] == [
        "Page 1",
        "Page 3",
        "Page 5",
    ]
    assert len(await ask("list", name="page", status=TaskStatus.NEW, priority=Priority.HIGH)) == 7
    (other,) = await ask("list", status=[TaskStatus.COMPLETED, TaskStatus.FAILED], view=View.FULL)
    assert other.result == {}
    page = await ask("page", include_total=True, limit=3, queue="default", type="slow")
    assert (len(page.items), page.total, page.total_is_capped, page.items[0].name) == (3, 7, False, "Page 6")


async def test_a_change_names_its_version(ask: Any, fake: FakeService) -> None:
    task = await ask("create", name="a", type="slow")
    changed = await ask("update", task.id, priority=Priority.LOW, if_version=1)
    with pytest.raises(TaskChangedError):
        await ask("update", task.id, priority=Priority.HIGH, if_version=1)
    with pytest.raises(ValidationFailedError):
        await ask("update", task.id)

    assert (changed.priority, changed.version) == (Priority.LOW, 2)


async def test_many_are_cancelled_and_run_again_with_progress(ask: Any, fake: FakeService) -> None:
    tasks = await ask("create_many", [{"name": "a", "type": "slow", "labels": {"a": "1"}}] * 1_500)
    await ask("create", name="b", type="slow")
    fake.begin(tasks[0].id)
    done: list[int] = []

    assert await ask("cancel_many", labels={"a": "1"}, dry_run=True) == 1_500
    assert await ask("cancel_many", labels={"a": "1"}, on_progress=done.append) == 1_500
    assert await ask("cancel_many", labels={"a": "1"}) == 0
    assert await ask("rerun_many", status=TaskStatus.CANCELLED, on_progress=done.append) == 1_499
    assert done == [1_000, 1_500, 1_000, 1_499]
    with pytest.raises(ValidationFailedError):
        await ask("cancel_many")
    with pytest.raises(ValidationFailedError):
        await ask("cancel_many", queue="default", labels={})
    assert await ask("cancel_many", every=True, dry_run=True) == 1_500


async def test_a_wait_ends_with_its_task(ask: Any, fake: FakeService) -> None:
    task = await ask("create", name="a", type="slow")
    timer = threading.Timer(0.05, fake.complete, (task.id, 42))
    timer.start()

    assert (await ask("wait", task.id, timeout_seconds=30)).result == 42
    assert len([one for one in fake.requests if one.url.path.endswith("/status")]) == 1
    with pytest.raises(WaitTimeoutError):
        await ask("wait", (await ask("create", name="b", type="slow")).id, timeout_seconds=0.05)


async def test_events_end_with_their_task(ask: Any, fake: FakeService) -> None:
    task = await ask("create", name="a", type="slow")
    fake.begin(task.id)
    timer = threading.Timer(0.05, fake.complete, (task.id,))
    timer.start()

    states = await ask("events", task.id)

    assert [state.status for state in states] == [TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED]


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "field"),
    [
        ("POST", "/tasks", {"json": {"name": ""}}, 422, "body.name"),
        ("POST", "/tasks", {"json": {"name": "a", "x": 1}}, 422, "body.x"),
        ("POST", "/tasks", {"content": b"{"}, 415, None),
        ("POST", "/tasks", {"content": b"{", "headers": {"content-type": "application/json"}}, 422, "body"),
        ("POST", "/tasks", {"json": {"name": "a", "description": "x" * (1 << 20)}}, 413, None),
        ("POST", "/tasks/batch", {"json": {"tasks": []}}, 422, "body.tasks"),
        ("POST", "/tasks/batch", {"json": {"tasks": [{"name": "a"}, {}]}}, 422, "body.tasks.1.name"),
        ("GET", "/tasks?limit=500", {}, 422, "query.limit"),
        ("GET", "/tasks?limit=1&limit=2", {}, 422, "query.limit"),
        ("GET", "/tasks?colour=red", {}, 422, "query.colour"),
        ("GET", "/tasks/x", {}, 422, "path.task_id"),
        ("PUT", "/tasks/019a0000-0000-7000-8000-000000000001", {}, 405, None),
        ("POST", "/tasks/cancel", {"json": {"filter": {}}}, 422, "body.filter"),
        ("POST", "/events", {"json": {"id": ["x"]}}, 422, "body.id.0"),
        ("GET", "/elsewhere", {}, 404, None),
    ],
)
def test_bad_input_is_a_problem_document(
    fake: FakeService, method: str, path: str, options: dict[str, Any], status: int, field: str | None
) -> None:
    with httpx2.Client(transport=fake.transport) as http:
        answer = http.request(method, f"{BASE}{path}", **options)
    problem = Problem.model_validate_json(answer.content)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error.field for error in problem.errors] == ([] if field is None else [field])


def test_any_client_can_be_given_its_transport(fake: FakeService) -> None:
    with TaskClient("http://elsewhere.test", transport=fake.transport) as client:
        assert client.ready().is_ready
        assert client.create(name="a").name == "a"
    assert isinstance(AsyncTaskClient("http://elsewhere.test", transport=fake.async_transport), AsyncTaskClient)
    assert len(fake.requests) == 2


def test_threads_change_tasks_one_at_a_time(fake: FakeService) -> None:
    with fake.client() as client:

        def create() -> None:
            for _ in range(20):
                client.create(name="a", type="slow", key="one")
                client.create(name="b", type="slow")

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(fake.tasks) == 161
