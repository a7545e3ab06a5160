from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import pytest

from task_contracts import Task, TaskPage, TaskSummary, limits

TASKS = "/api/v1/tasks"
Create = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def names(client: httpx2.AsyncClient) -> Callable[..., Awaitable[list[str]]]:
    """List by these parameters, oldest first, and return the names."""

    async def listed(**params: Any) -> list[str]:
        answer = await client.get(TASKS, params={"order": "oldest", **params})
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]

    return listed


async def test_pages_follow_one_another_until_none_is_left(client: httpx2.AsyncClient, create: Create) -> None:
    created = [(await create(name=f"task {number}"))["id"] for number in range(7)]

    for order, expected in (("oldest", created), ("newest", created[::-1])):
        seen: list[str] = []
        params: dict[str, Any] = {"order": order, "limit": 3}
        sizes = []
        while True:
            page = (await client.get(TASKS, params=params)).json()
            sizes.append(len(page["items"]))
            seen += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert seen == expected
        assert sizes == [3, 3, 1]


async def test_newest_come_first_unless_asked_otherwise(client: httpx2.AsyncClient, create: Create) -> None:
    first, second = await create(), await create()

    page = (await client.get(TASKS)).json()

    assert [item["id"] for item in page["items"]] == [second["id"], first["id"]]


async def test_items_leave_out_payload_and_result_unless_all_is_asked_for(
    client: httpx2.AsyncClient, create: Create, worker: Any
) -> None:
    task = await create(payload={"n": 1})
    await worker.complete(task["id"], "[1]")

    summary = await client.get(TASKS)
    full = await client.get(TASKS, params={"view": "full"})

    assert set(summary.json()["items"][0]) == set(TaskSummary.model_fields)
    assert set(full.json()["items"][0]) == set(Task.model_fields)
    assert (full.json()["items"][0]["payload"], full.json()["items"][0]["result"]) == ({"n": 1}, [1])
    assert TaskPage[TaskSummary].model_validate_json(summary.content).items[0].status == "COMPLETED"


async def test_filters_of_one_kind_are_alternatives_and_of_different_kinds_conditions(
    create: Create, names: Any, worker: Any
) -> None:
    await create(name="a", priority="HIGH", labels={"team": "x", "env": "prod"})
    await create(name="b", priority="LOW", labels={"team": "x"}, type="other")
    await create(name="c", priority="LOW", queue="reports")
    await worker.complete((await create(name="done"))["id"])

    assert await names(status="NEW") == ["a", "b", "c"]
    assert await names(status=["NEW", "COMPLETED"]) == ["a", "b", "c", "done"]
    assert await names(status="NEW,COMPLETED") == ["a", "b", "c", "done"]
    assert await names(status=["NEW,PENDING", "COMPLETED"]) == ["a", "b", "c", "done"]
    assert await names(priority=["HIGH", "LOW"]) == ["a", "b", "c"]
    assert await names(priority="HIGH,LOW,HIGH") == ["a", "b", "c"]
    assert await names(priority="LOW", label="team:x") == ["b"]
    assert await names(label=["team:x", "env:prod"]) == ["a"]
    assert await names(label="env:prod:x") == []
    assert await names(label="team:x,env:prod") == [], "a comma is a part of a label"
    assert await names(type="other") == ["b"]
    assert await names(queue="reports") == ["c"]
    assert await names(queue="unknown") == []
    assert await names(name="DON") == ["done"]
    assert await names(name="%") == []


async def test_times_bound_the_list_from_one_inclusive_to_the_other_exclusive(create: Create, names: Any) -> None:
    first, second = await create(name="first"), await create(name="second")
    at = datetime.fromisoformat(second["created_at"])

    assert await names(created_from=first["created_at"]) == ["first", "second"]
    assert await names(created_from=at.isoformat()) == ["second"]
    assert await names(created_to=at.isoformat()) == ["first"]
    assert await names(created_from=(at - timedelta(days=1)).astimezone().isoformat()) == ["first", "second"]
    assert await names(created_from="0001-01-01T00:00:00+14:00", created_to="9999-12-31T23:59:59-12:00") == [
        *["first", "second"]
    ]


async def test_a_total_counts_all_that_match_whatever_the_page(client: httpx2.AsyncClient, create: Create) -> None:
    for number in range(5):
        await create(name=f"task {number}", priority="HIGH" if number else "LOW")
    params = {"priority": "HIGH", "limit": 2, "include_total": "true"}

    first = (await client.get(TASKS, params=params)).json()
    second = (await client.get(TASKS, params={**params, "cursor": first["next_cursor"]})).json()

    for page in (first, second):
        assert (len(page["items"]), page["total"], page["total_is_capped"]) == (2, 4, False)


async def test_a_page_ends_where_it_grows_too_large_and_goes_on(
    client: httpx2.AsyncClient, create: Create, sql: asyncpg.Connection
) -> None:
    for _ in range(6):
        await create(payload={"large": "x" * (limits.BODY_BYTES - 1000)})

    page = await client.get(TASKS, params={"view": "full"})
    rest = await client.get(TASKS, params={"view": "full", "cursor": page.json()["next_cursor"]})

    assert len(page.content) <= limits.PAGE_BYTES * 1.1
    assert len(page.json()["items"]) + len(rest.json()["items"]) == 6
    assert rest.json()["next_cursor"] is None
