"""The stream of one task, over a real connection, with no signal: the worker of these tests sends none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from task_contracts import TaskState

TASKS = "/api/v1/tasks"
Create = Callable[..., Awaitable[dict[str, Any]]]

NO_TASK = UUID(int=7)


def events_of(task: dict[str, Any]) -> str:
    return f"{TASKS}/{task['id']}/events"


async def test_the_present_state_comes_first_then_each_change_and_the_last_ends_the_stream(
    open_stream: Any, create: Create, worker: Any
) -> None:
    task = await create()

    async with open_stream(events_of(task)) as stream:
        first = await stream.next()
        claim = await worker.claim(task["id"])
        second = await stream.next()
        await worker.end(claim)
        rest = await stream.rest()

    assert first.data == {name: task[name] for name in TaskState.model_fields}
    assert [(event.data["status"], event.id) for event in (first, second, *rest)] == [
        ("NEW", "1"),
        ("IN_PROGRESS", "2"),
        ("COMPLETED", "3"),
    ]
    assert {event.name for event in (first, second, *rest)} == {"message"}


async def test_an_ended_task_is_one_event_and_the_end(open_stream: Any, create: Create, worker: Any) -> None:
    task = await create()
    await worker.fail(task["id"])

    async with open_stream(events_of(task)) as stream:
        events = await stream.rest()

    assert [event.data["status"] for event in events] == ["FAILED"]


async def test_a_caller_that_resumes_gets_what_it_has_not(open_stream: Any, create: Create, worker: Any) -> None:
    task = await create()

    async with open_stream(events_of(task), "1") as stream:
        await worker.complete(task["id"])
        events = await stream.rest()

    assert [int(event.id) for event in events][-1] == 3
    assert "1" not in [event.id for event in events]


async def test_a_caller_that_has_the_last_event_gets_204(
    live_client: httpx2.AsyncClient, create: Create, worker: Any
) -> None:
    task = await create()
    await worker.complete(task["id"])

    answer = await live_client.get(events_of(task), headers={"last-event-id": "3"})

    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_version_below_the_one_sent_is_a_reset(
    open_stream: Any, create: Create, worker: Any, sql: asyncpg.Connection
) -> None:
    """After a failover the database may have gone back in time."""
    task = await create()

    async with open_stream(events_of(task)) as stream:
        await stream.next()
        await sql.execute("UPDATE tasks SET version = 9 WHERE id = $1", task["id"])
        assert (await stream.next()).id == "9"
        await sql.execute("UPDATE tasks SET version = 4 WHERE id = $1", task["id"])
        reset, state = await stream.next(), await stream.next()

    assert (reset.name, reset.id, state.name, state.id) == ("reset", "4", "message", "4")


async def test_a_caller_that_resumes_from_a_version_that_is_gone_gets_a_reset(open_stream: Any, create: Create) -> None:
    task = await create()

    async with open_stream(events_of(task), "7") as stream:
        events = [await stream.next(), await stream.next()]

    assert [(event.name, event.id) for event in events] == [("reset", "1"), ("message", "1")]


async def test_a_task_that_is_purged_ends_its_stream(open_stream: Any, create: Create, sql: asyncpg.Connection) -> None:
    task = await create()

    async with open_stream(events_of(task)) as stream:
        await stream.next()
        await sql.execute("DELETE FROM tasks WHERE id = $1", task["id"])
        events = await stream.rest()

    assert events == []


async def test_headers_keep_caches_and_proxies_from_holding_a_stream(open_stream: Any, create: Create) -> None:
    async with open_stream(events_of(await create())) as stream:
        await stream.next()

    headers = stream.answer.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "private, no-cache, no-transform"
    assert stream.lines[0] == "retry: 2000"


async def test_head_is_answered_and_ends(live_client: httpx2.AsyncClient, create: Create) -> None:
    task = await create()

    answer = await live_client.head(events_of(task))

    assert (answer.status_code, answer.headers["x-accel-buffering"]) == (200, "no")


@pytest.mark.parametrize(
    ("path", "last_event_id", "status", "field"),
    [
        (f"{TASKS}/{NO_TASK}/events", None, 404, None),
        (f"{TASKS}/{NO_TASK}/events", "1", 404, None),
        (f"{TASKS}/x/events", None, 422, "path.task_id"),
        (f"{TASKS}/{NO_TASK}/events", "x", 422, "header.Last-Event-ID"),
        (f"{TASKS}/{NO_TASK}/events", "9" * 5_000, 422, "header.Last-Event-ID"),
        (f"{TASKS}/{NO_TASK}/events?x=1", None, 422, "query.x"),
    ],
)
async def test_what_cannot_be_streamed_is_a_problem(
    client: httpx2.AsyncClient, path: str, last_event_id: str | None, status: int, field: str | None
) -> None:
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}

    answer = await client.get(path, headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])
