"""Both clients against a real HTTP server on this machine: connections, timeouts and failures."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from task_client import (
    AsyncTaskClient,
    ConnectionFailedError,
    NotFoundError,
    ProblemError,
    RequestTimeoutError,
    TaskClient,
    TaskCreate,
    TaskFinishedError,
    TaskStatus,
    UnavailableError,
    UnexpectedAnswerError,
    ValidationFailedError,
    WaitTimeoutError,
)
from task_client.testing import FakeService
from task_contracts.testing import an_id

LISTED_TASKS = 1_000


async def test_a_task_is_created_waited_for_and_read(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task", payload={"text": "grüße 😀"}))
    ended = await client("wait", created.id, timeout_seconds=30)

    assert (ended.status, ended.result) == (TaskStatus.COMPLETED, {"text": "grüße 😀"})
    with pytest.raises(TaskFinishedError):
        await client("cancel", created.id)


async def test_a_waiting_task_is_cancelled_twice(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task", type="slow"))

    assert (await client("cancel", created.id)).status is TaskStatus.CANCELLED
    assert (await client("cancel", created.id)).status is TaskStatus.CANCELLED


async def test_refusals_are_told_apart(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)

    with pytest.raises(NotFoundError):
        await client("status", an_id())
    with pytest.raises(ValidationFailedError):
        await client("create", TaskCreate(name="a task", queue="elsewhere"))


async def test_waits_beyond_a_hundred_leave_connections_for_others(service: Any) -> None:
    async with AsyncTaskClient(service.url, timeout_seconds=5) as client:
        task = await client.create(name="a task", type="slow")
        waits = [asyncio.create_task(client.wait(task.id, 60)) for _ in range(130)]
        await asyncio.sleep(1)
        beside = await client.status(task.id)
        await client.cancel(task.id)
        ends = await asyncio.gather(*waits)

    assert beside.status is TaskStatus.NEW
    assert {end.status for end in ends} == {TaskStatus.CANCELLED}


async def test_calls_one_after_another_share_a_connection(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    for _ in range(20):
        await client("health")

    assert len(service.connections) == 1


async def test_thousands_of_tasks_are_created_and_listed(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    await client("create_many", ({"name": f"task {i}"} for i in range(LISTED_TASKS)))
    tasks = await client.take(limit=200, order="oldest")

    assert len(tasks) == LISTED_TASKS
    assert (tasks[0].name, tasks[-1].name) == ("task 0", f"task {LISTED_TASKS - 1}")
    assert len(service.requests) == 1 + LISTED_TASKS / 200


async def test_who_takes_the_first_tasks_only_costs_one_page(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    await client("create_many", [{"name": "a"}] * 300)
    await client.take(10, limit=200)

    assert len(service.requests) == 2


@pytest.mark.parametrize("trouble", ["hang up", "hang up after", "proxy", "unavailable"])
async def test_a_create_in_trouble_creates_one_task(
    connect: Callable[..., Any], service: Any, fake: FakeService, trouble: str
) -> None:
    service.trouble = [trouble] * 3
    created = await connect(service.url)("create", TaskCreate(name="a task"))

    assert [task.id for task in fake.tasks] == [created.id]


async def test_an_error_of_the_service_itself_is_told_at_once(connect: Callable[..., Any], service: Any) -> None:
    service.trouble = ["internal"]
    with pytest.raises(ProblemError, match=r"POST http://127.0.0.1:\d+/api/v1/tasks: 500 internal_error") as raised:
        await connect(service.url)("create", TaskCreate(name="a task"))

    assert raised.value.key
    assert not raised.value.is_repeat_safe


async def test_reading_goes_on_over_lost_connections_and_proxies(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task"))
    service.trouble = ["hang up", "hang up", "proxy"]

    assert (await client("get", created.id)).id == created.id
    assert len(service.requests) == 5


async def test_waiting_goes_on_over_trouble_that_passes(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task"))
    service.trouble = ["hang up", "proxy", "unavailable"]

    assert (await client("wait", created.id, timeout_seconds=30)).status is TaskStatus.COMPLETED


async def test_a_service_that_does_not_answer_costs_no_more_than_the_timeout(
    connect: Callable[..., Any], service: Any
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


async def test_a_wait_that_ends_too_early_tells_the_last_state(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    created = await client("create", TaskCreate(name="a task", type="slow"))
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


async def test_another_server_is_told_from_the_service(connect: Callable[..., Any], service: Any) -> None:
    service.trouble = ["proxy"]
    with pytest.raises(UnexpectedAnswerError, match="bad gateway"):
        await connect(service.url)("health")

    service.trouble = ["unavailable"]
    with pytest.raises(UnavailableError):
        await connect(service.url)("health")


def test_threads_share_a_client(service: Any, fake: FakeService) -> None:
    with TaskClient(service.url) as client, ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda i: client.create(TaskCreate(name=f"task {i}")), range(100)))

    assert {task.name for task in created} == {f"task {i}" for i in range(100)}
    assert len(fake.tasks) == 100
    assert len(service.connections) <= 8


async def test_tasks_are_told_as_they_end(connect: Callable[..., Any], service: Any) -> None:
    client = connect(service.url)
    tasks = await client("create_many", ({"name": f"page {n}", "payload": {"n": n}} for n in range(1_500)))
    ended = await client.first(None, "as_completed", tasks)

    assert {task.result["n"] for task in ended} == set(range(1_500))
    assert len(ended) == 1_500


def wait_for(is_there: Callable[[], object]) -> None:
    """Block a thread of a test until something is there."""
    end = time.monotonic() + 30
    while not is_there():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_listened_to(service: Any) -> bool:
    return any("/events" in request for request in service.requests)


@contextlib.contextmanager
def at_the_same_time(work: Callable[[], object]) -> Iterator[None]:
    """Do something in a thread."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield
        done.result()


@pytest.mark.parametrize("trouble", [["cut", "cut"], ["hang up"], ["unavailable"], ["proxy"], ["buffer"], ["internal"]])
async def test_tasks_are_told_over_streams_in_trouble(
    connect: Callable[..., Any], service: Any, fake: FakeService, trouble: list[str]
) -> None:
    client = connect(service.url)
    tasks = await client("create_many", [{"name": str(n), "type": "slow"} for n in range(20)])
    service.trouble = trouble

    def end_them() -> None:
        wait_for(lambda: not service.trouble)
        for task in tasks:
            fake.complete(task.id, task.name)

    with at_the_same_time(end_them):
        ended = await client.first(None, "as_completed", tasks, timeout_seconds=60)

    assert sorted(int(task.result) for task in ended) == list(range(20))


async def test_tasks_are_told_over_a_restart_in_the_middle(
    connect: Callable[..., Any], serve: Callable[..., Any], fake: FakeService
) -> None:
    first = serve()
    port = first.server_address[1]
    client = connect(first.url)
    tasks = await client("create_many", [{"name": str(n), "type": "slow"} for n in range(20)])

    def restart() -> None:
        wait_for(lambda: is_listened_to(first))
        for task in tasks[:10]:
            fake.complete(task.id)
        first.stop()
        for task in tasks[10:]:
            fake.complete(task.id)
        serve(port)

    with at_the_same_time(restart):
        ended = await client.first(None, "as_completed", tasks, timeout_seconds=60)

    assert len({task.id for task in ended}) == len(ended) == 20


async def test_a_restart_in_the_middle_of_batches_creates_each_task_once(
    connect: Callable[..., Any], serve: Callable[..., Any], fake: FakeService
) -> None:
    first = serve()
    port = first.server_address[1]
    first.trouble = ["", "hang up after", "", "hang up after"]

    def tasks() -> Any:
        for n in range(2_500):
            if n == 1_800:
                first.stop()
                serve(port)
            yield {"name": str(n)}

    created = await connect(first.url)("create_many", tasks())

    assert [task.name for task in created] == [str(n) for n in range(2_500)]
    assert len(fake.tasks) == 2_500


async def test_a_stream_of_changes_goes_on_over_cuts(
    connect: Callable[..., Any], service: Any, fake: FakeService
) -> None:
    client = connect(service.url)
    task = await client("create", {"name": "a", "type": "slow"})
    service.trouble = ["cut", "unavailable", "cut"]
    fake.begin(task.id)

    def end_it() -> None:
        wait_for(lambda: not service.trouble)
        fake.complete(task.id)

    with at_the_same_time(end_it):
        states = await client.first(None, "events", task.id)

    versions = [state.version for state in states]
    assert versions == sorted(set(versions))
    assert states[-1].status is TaskStatus.COMPLETED


async def test_changes_of_many_tasks_are_told_for_as_long_as_the_caller_listens(
    connect: Callable[..., Any], service: Any, fake: FakeService
) -> None:
    client = connect(service.url)

    def change() -> None:
        wait_for(lambda: is_listened_to(service))
        for n in range(10):
            fake.complete(client_less.create(name=str(n), type="slow", labels={"a": "1"}).id)
            client_less.create(name="another", type="slow")

    with fake.client() as client_less, at_the_same_time(change):
        states = await client.first(10, "events", labels={"a": "1"})

    assert len({(state.id, state.version) for state in states}) == 10


async def test_who_is_never_reached_says_so_at_once(
    connect: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    client = connect(url)
    with pytest.raises(ConnectionFailedError, match="Connection refused"):
        await client("wait", an_id(), timeout_seconds=3600)
    with pytest.raises(ConnectionFailedError, match="Connection refused"):
        await client.first(None, "as_completed", [an_id()])
    with pytest.raises(ConnectionFailedError, match="Connection refused"):
        await client.first(None, "events", an_id())

    assert "trying again" in caplog.text


def test_ctrl_c_ends_a_wait_for_many_tasks(service: Any) -> None:
    with TaskClient(service.url) as client:
        tasks = client.create_many([{"name": "a", "type": "slow"}] * 3)

        def interrupt() -> None:
            # Once it has looked them up, too: Python leaks a socket that is interrupted while it connects.
            wait_for(lambda: is_listened_to(service) and any("/tasks?" in request for request in service.requests))
            signal.raise_signal(signal.SIGINT)

        with at_the_same_time(interrupt), pytest.raises(KeyboardInterrupt):
            list(client.as_completed(tasks))

        wait_for(lambda: not any(thread.name.startswith("task-client") for thread in threading.enumerate()))
        assert client.get(tasks[0].id).status is TaskStatus.NEW


async def test_a_cancelled_wait_for_many_tasks_leaves_nothing_behind(service: Any) -> None:
    async with AsyncTaskClient(service.url) as client:
        tasks = await client.create_many([{"name": "a", "type": "slow"}] * 3)

        async def listen() -> list[Any]:
            return [task async for task in client.as_completed(tasks)]

        waiting = asyncio.create_task(listen())
        await asyncio.to_thread(wait_for, lambda: is_listened_to(service))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert [one for one in asyncio.all_tasks() if one.get_name().startswith("task-client")] == []
        assert (await client.get(tasks[0].id)).status is TaskStatus.NEW


async def test_a_wait_for_many_tasks_that_ends_too_early_says_which_go_on(
    connect: Callable[..., Any], service: Any, fake: FakeService
) -> None:
    client = connect(service.url)
    tasks = await client("create_many", [{"name": str(n), "type": "slow"} for n in range(3)])
    fake.complete(tasks[1].id)
    with pytest.raises(WaitTimeoutError) as raised:
        await client.first(None, "as_completed", tasks, timeout_seconds=1.0)

    assert raised.value.task_ids == (tasks[0].id, tasks[2].id)
