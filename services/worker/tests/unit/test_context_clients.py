"""A handler's clients: whatever waits for tasks is told of, and every create has a key of the attempt's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx2
import pytest

from task_client.testing import FakeService
from task_worker.context_clients import ContextAsyncTaskClient, ContextTaskClient
from task_worker.create_keys import CreateKeys

TASK = UUID("019dd6a4-0800-7000-8000-000000000000")


@pytest.fixture
def service() -> FakeService:
    return FakeService({"echo": lambda payload: payload})


def keys_of(requests: list[httpx2.Request]) -> list[str]:
    return [key for request in requests if (key := request.headers.get("idempotency-key"))]


Use = Callable[[Any, UUID], Any]


@pytest.mark.parametrize(
    "use",
    [
        lambda client, one: client.wait(one, 5),
        lambda client, one: list(client.as_completed([one])),
        lambda client, _: list(client.map("echo", [{}])),
    ],
    ids=["wait", "as_completed", "map"],
)
def test_whatever_waits_is_told_of(use: Use, service: FakeService) -> None:
    told: list[str] = []
    with ContextTaskClient(
        "http://a.test", lambda: told.append("waits"), CreateKeys(TASK, 0), transport=service.transport
    ) as client:
        one = client.create(name="a", type="echo").id
        assert told == []

        use(client, one)

    assert told == ["waits"]


async def test_whatever_waits_is_told_of_on_the_loop_too(service: FakeService) -> None:
    told: list[str] = []
    async with ContextAsyncTaskClient(
        "http://a.test", lambda: told.append("waits"), CreateKeys(TASK, 0), transport=service.async_transport
    ) as client:
        one = (await client.create(name="a", type="echo")).id

        await client.wait(one, 5)
        assert [task.id async for task in client.as_completed([one])] == [one]
        assert [task.type async for task in client.map("echo", [{}])] == ["echo"]

    assert told == ["waits"] * 3


def test_all_creates_have_keys_of_the_attempt_and_another_attempt_has_the_same(service: FakeService) -> None:
    def attempt() -> list[str]:
        seen = len(service.requests)
        with ContextTaskClient(
            "http://a.test", lambda: None, CreateKeys(TASK, 0), transport=service.transport
        ) as client:
            client.create(name="a", type="echo")
            client.create(name="a", type="echo")
            client.create_many([{"name": "b", "type": "echo"}, {"name": "c", "type": "echo"}])
            client.create(name="d", type="echo", key="mine")
        return keys_of(service.requests[seen:])

    first, again = attempt(), attempt()

    assert first == again
    assert len(set(first)) == 4
    assert all(key.startswith(f"{TASK}:0:") for key in first)
    assert len(service.tasks) == 5
