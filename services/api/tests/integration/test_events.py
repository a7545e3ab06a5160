"""Streams over many tasks, over real connections, with no signal unless a test sends one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from task_api.parts import ApiParts
from task_api.streams import cursors, many_stream, present_states
from task_api.watch import subscription
from task_contracts import Signal, SignalKind, TaskState
from task_contracts.testing import an_id

TASKS, EVENTS = "/api/v1/tasks", "/api/v1/events"
Create = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def heard(parts: ApiParts) -> Callable[..., None]:
    """Send a signal that these tasks have changed."""
    return lambda *ids: parts.signals.send(Signal(kind=SignalKind.CHANGED, ids=ids))


async def next_ids(stream: Any, count: int) -> list[str]:
    return [(await stream.next()).data["id"] for _ in range(count)]


async def cursor_of(stream: Any) -> str:
    """Return the cursor that stands at the beginning of every stream, before any event."""
    async with asyncio.timeout(20):
        while not stream.last_id:
            stream.lines.append(await anext(stream._rest))
            if stream.lines[-1].startswith("id: "):
                stream.last_id = stream.lines[-1].removeprefix("id: ")
    return stream.last_id


async def test_what_ends_from_now_on_is_sent_without_any_signal(open_stream: Any, create: Create, worker: Any) -> None:
    before, after = await create(), await create()
    await worker.complete(before["id"])

    async with open_stream(EVENTS) as stream:
        await worker.complete(after["id"])
        event = await stream.next()

    assert (event.name, event.data["id"], event.data["status"]) == ("message", after["id"], "COMPLETED")
    assert set(event.data) == set(TaskState.model_fields)


async def test_a_signal_brings_changes_of_tasks_that_have_not_ended(
    open_stream: Any, create: Create, worker: Any, heard: Any
) -> None:
    task = await create()

    async with open_stream(EVENTS) as stream:
        await cursor_of(stream)
        await worker.claim(task["id"])
        heard(task["id"])
        event = await stream.next()

    assert (event.data["id"], event.data["status"]) == (task["id"], "IN_PROGRESS")


async def test_given_ids_are_watched_without_any_signal_whatever_becomes_of_them(
    open_stream: Any, create: Create, worker: Any
) -> None:
    task, other = await create(), await create()

    async with open_stream(EVENTS, params={"id": [task["id"], an_id()]}) as stream:
        await worker.claim(other["id"])
        claim = await worker.claim(task["id"])
        began = await stream.next()
        await worker.end(claim)
        ended = await stream.next()

    assert [(event.data["id"], event.data["status"]) for event in (began, ended)] == [
        (task["id"], "IN_PROGRESS"),
        (task["id"], "COMPLETED"),
    ]


@pytest.mark.parametrize("is_posted", [False, True], ids=["GET", "POST"])
async def test_only_what_matches_every_filter_is_sent(
    is_posted: bool, live_client: httpx2.AsyncClient, open_stream: Any, create: Create
) -> None:
    of_reports = {"queue": "reports", "type": "build", "labels": {"team": "x", "env": "prod"}}
    others: list[dict[str, Any]] = [{"queue": "default"}, {"type": "echo"}, {"labels": {"team": "y", "env": "prod"}}]
    tasks = [await create(**{**of_reports, **other}) for other in ({}, *others)]
    wanted = {"queue": "reports", "type": "build", "label": ["team:x", "env:prod"], "status": ["CANCELLED", "FAILED"]}
    options = {"json": wanted} if is_posted else {"params": wanted}
    every = await create()

    async with open_stream(EVENTS, **options) as stream, open_stream(EVENTS) as all_events:
        for task in (*tasks[::-1], every):
            await live_client.delete(f"{TASKS}/{task['id']}")
        seen = await next_ids(all_events, 5)
        event = await stream.next()

    assert event.data["id"] == tasks[0]["id"]
    assert sorted(seen) == sorted(task["id"] for task in (*tasks, every))


async def test_an_empty_filter_is_every_task(live_client: httpx2.AsyncClient, open_stream: Any, create: Create) -> None:
    task = await create()

    async with open_stream(EVENTS, json={"id": [], "status": [], "label": [], "type": None, "queue": None}) as stream:
        await live_client.delete(f"{TASKS}/{task['id']}")
        event = await stream.next()

    assert event.data["id"] == task["id"]


async def test_a_stream_of_a_thousand_ids(live_client: httpx2.AsyncClient, open_stream: Any, create: Create) -> None:
    ids = [(await create())["id"] for _ in range(3)]
    others = [str(an_id()) for _ in range(997)]

    async with open_stream(EVENTS, json={"id": [*others, *ids]}) as stream:
        for task_id in ids:
            await live_client.delete(f"{TASKS}/{task_id}")
        seen = {(await stream.next()).data["id"] for _ in ids}

    assert seen == set(ids)


async def test_a_resumed_stream_begins_with_what_is_active_and_what_has_ended_since(
    open_stream: Any, create: Create, worker: Any, sql: asyncpg.Connection
) -> None:
    long_ago, waits, ends = [(await create())["id"] for _ in range(3)]
    await worker.complete(long_ago)
    await sql.execute(
        "UPDATE tasks SET created_at = now() - interval '1 h', started_at = now() - interval '1 h', finished_at ="
        " now() - interval '59 s' WHERE id = $1",
        long_ago,
    )
    async with open_stream(EVENTS) as stream:
        cursor = await cursor_of(stream)
    await worker.complete(ends)

    async with open_stream(EVENTS, cursor) as stream:
        events = [await stream.next(), await stream.next()]
        new = await create()
        await worker.complete(new["id"])
        later = await next_ids(stream, 1)
        while later[-1] != new["id"]:  # what was sent at the beginning may come again
            later += await next_ids(stream, 1)

    assert {(event.data["id"], event.data["status"]) for event in events} == {(waits, "NEW"), (ends, "COMPLETED")}
    assert {event.id for event in events} == {""}, "a caller that is cut off here resumes from where it did"
    assert long_ago not in later


async def test_a_resumed_stream_of_ids_begins_with_these(
    open_stream: Any, create: Create, worker: Any, sql: asyncpg.Connection
) -> None:
    ids = [(await create())["id"] for _ in range(3)]
    await worker.complete(ids[0])
    cursor = cursors.encode(await sql.fetchval("SELECT now()") - timedelta(minutes=1))
    late = cursors.encode(await sql.fetchval("SELECT now()") + timedelta(minutes=1))

    async with open_stream(EVENTS, cursor, params={"id": ",".join(ids[:2])}) as stream:
        seen = await next_ids(stream, 2)
    async with open_stream(EVENTS, late, params={"id": ids}) as stream:
        seen_late = await next_ids(stream, 2)

    assert sorted(seen) == ids[:2]
    assert sorted(seen_late) == ids[1:], "the first has ended before the cursor"


async def test_the_present_state_comes_once_more_a_little_later(open_stream: Any, create: Create) -> None:
    task = await create()
    async with open_stream(EVENTS) as stream:
        cursor = await cursor_of(stream)

    async with open_stream(EVENTS, cursor) as stream:
        assert await next_ids(stream, 2) == [task["id"]] * 2


async def test_too_many_to_be_sent_is_a_reset(
    open_stream: Any, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(present_states, "STATES_MAX", 2)
    monkeypatch.setattr(many_stream, "_AGAIN_SECONDS", 600)
    for _ in range(3):
        await create()
    async with open_stream(EVENTS) as stream:
        cursor = await cursor_of(stream)

    async with open_stream(EVENTS, cursor) as stream:
        event = await stream.next()

    assert (event.name, event.data) == ("reset", {})


async def test_a_version_below_the_one_sent_is_a_reset(
    open_stream: Any, create: Create, sql: asyncpg.Connection, heard: Any
) -> None:
    task = await create()

    async with open_stream(EVENTS) as by_filter, open_stream(EVENTS, params={"id": task["id"]}) as by_id:
        for stream in (by_filter, by_id):
            await cursor_of(stream)
        seen = []
        for version in (9, 4):
            await sql.execute("UPDATE tasks SET version = $1", version)
            heard(task["id"])
            seen += [await stream.next() for stream in (by_filter, by_id)]
        seen += [await stream.next() for stream in (by_filter, by_id)]

    assert [event.name for event in seen] == ["message"] * 2 + ["reset"] * 2 + ["message"] * 2
    assert [event.data.get("version") for event in seen] == [9, 9, None, None, 4, 4]


async def test_what_a_slow_reader_leaves_is_bounded_and_dropped_for_a_reset(
    open_stream: Any, create: Create, worker: Any, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "BUFFER_BYTES", 1)
    ids = [(await create())["id"] for _ in range(3)]

    async with open_stream(EVENTS, params={"id": ids[0]}) as few, open_stream(EVENTS) as many:
        await asyncio.gather(*(worker.complete(task_id) for task_id in ids))
        heard(*ids)
        reset, one = await many.next(), await few.next()

    assert reset.name == "reset"
    assert (one.name, one.data["id"]) == ("message", ids[0]), "one always fits"


async def test_cursors_never_go_back_and_each_stream_begins_with_one(
    open_stream: Any, create: Create, worker: Any
) -> None:
    async with open_stream(EVENTS) as stream:
        ids = [await cursor_of(stream)]
        for _ in range(2):
            await worker.complete((await create())["id"])
            ids.append((await stream.next()).id)

    assert ids == sorted(ids)
    assert len(set(map(len, ids))) == 1


async def test_streams_end_when_the_server_stops(open_stream: Any, parts: ApiParts, create: Create) -> None:
    task = await create()
    async with open_stream(EVENTS) as many, open_stream(f"{TASKS}/{task['id']}/events") as one:
        await one.next()
        parts.stop.set()

        assert await many.rest() == await one.rest() == []


async def test_a_caller_that_goes_away_leaves_nothing(
    live_client: httpx2.AsyncClient, open_stream: Any, parts: ApiParts, create: Create, until: Any
) -> None:
    task = await create()
    for path in (EVENTS, f"{EVENTS}?id={task['id']}", f"{TASKS}/{task['id']}/events"):
        async with open_stream(path):
            assert len(parts.watch.subscriptions) == 1

        async def is_gone() -> bool:
            return not parts.watch.subscriptions

        await until(is_gone)


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}?status=NEW,PENDING"])
async def test_head_is_answered_and_ends(live_client: httpx2.AsyncClient, path: str) -> None:
    answer = await live_client.head(path)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


MANY_IDS = ",".join(str(UUID(int=number)) for number in range(1_001))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("id=x", "query.id.0"),
        (f"id={MANY_IDS}", "query.id"),
        ("id=" + "," * 30_000, "query.id"),
        ("status=DONE", "query.status.0"),
        ("label=x", "query.label.0"),
        ("queue=no spaces", "query.queue"),
        ("queue=a&queue=b", "query.queue"),
        ("type=", "query.type"),
        ("name=x", "query.name"),
        ("priority=HIGH", "query.priority"),
    ],
)
async def test_a_hostile_query_is_a_problem_of_its_field(client: httpx2.AsyncClient, query: str, field: str) -> None:
    answer = await client.get(f"{EVENTS}?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert len(answer.json()["errors"]) <= 20


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"id": "x"}, "body.id"),
        ({"id": [1]}, "body.id.0"),
        ({"id": [None]}, "body.id.0"),
        ({"id": MANY_IDS.split(",")}, "body.id"),
        ({"status": [{"a": "NEW"}]}, "body.status.0"),
        ({"label": [{"a:b": 1}]}, "body.label.0"),
        ({"label": [["a:b"]]}, "body.label.0"),
        ({"label": ["a:\u0000"]}, "body.label.0"),
        ({"queue": 5}, "body.queue"),
        ({"name": "x"}, "body.name"),
        ({"filter": {}}, "body.filter"),
    ],
)
async def test_a_hostile_body_is_a_problem_of_its_field(client: httpx2.AsyncClient, body: Any, field: str) -> None:
    answer = await client.post(EVENTS, json=body)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert field in {error["field"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("cursor", ["x", "1" * 17, "-" + "1" * 15, "\u0661" * 16, "9" * 15])
async def test_a_cursor_that_no_stream_has_sent_is_422(client: httpx2.AsyncClient, cursor: str) -> None:
    answer = await client.get(EVENTS, headers={"last-event-id": cursor.encode()})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "header.Last-Event-ID")


@pytest.mark.parametrize("cursor", ["0" * 16, "9" * 16])
async def test_a_cursor_of_any_time_is_taken(open_stream: Any, cursor: str) -> None:
    async with open_stream(EVENTS, cursor) as stream:
        assert await cursor_of(stream) > "1" * 16


async def test_a_list_takes_ids_too(client: httpx2.AsyncClient, create: Create) -> None:
    ids = [(await create())["id"] for _ in range(4)]

    repeated = await client.get(TASKS, params={"id": [ids[0], ids[2]], "order": "oldest"})
    separated = await client.get(TASKS, params={"id": f"{ids[3]},{ids[0]},{an_id()}", "include_total": True})
    too_many = await client.get(TASKS, params={"id": MANY_IDS})

    assert [task["id"] for task in repeated.json()["items"]] == [ids[0], ids[2]]
    assert [task["id"] for task in separated.json()["items"]] == [ids[3], ids[0]]
    assert separated.json()["total"] == 2
    assert (too_many.status_code, too_many.json()["errors"][0]["field"]) == (422, "query.id")
