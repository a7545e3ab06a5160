"""Cancelling and rerunning many tasks by filter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from task_api.deadlines import Deadlines
from task_contracts import BulkResult, SignalKind, limits

TASKS = "/api/v1/tasks"
CALLS = [f"{TASKS}/cancel", f"{TASKS}/rerun"]
FAILED = {"filter": {"status": ["FAILED"]}}
Create = Callable[..., Awaitable[dict[str, Any]]]
Post = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def post(client: httpx2.AsyncClient) -> Post:
    """Make one call and return its answer."""

    async def posted(call: str, **body: Any) -> dict[str, Any]:
        answer = await client.post(f"{TASKS}/{call}", json=body)
        assert answer.status_code == 200, answer.text
        assert BulkResult.model_validate_json(answer.content)
        return answer.json()

    return posted


@pytest.fixture
def walk(post: Post) -> Callable[..., AsyncIterator[dict[str, Any]]]:
    """Go on by the cursor until there is none."""

    async def walked(call: str, **body: Any) -> AsyncIterator[dict[str, Any]]:
        while True:
            answer = await post(call, **body)
            yield answer
            if answer["next_cursor"] is None:
                return
            body["cursor"] = answer["next_cursor"]

    return walked


@pytest.fixture
def statuses(client: httpx2.AsyncClient) -> Callable[[], Awaitable[dict[str, str]]]:
    """Return the status of every task by its name."""

    async def listed() -> dict[str, str]:
        items = (await client.get(TASKS, params={"limit": 200})).json()["items"]
        return {item["name"]: item["status"] for item in items}

    return listed


async def test_cancel_ends_what_waits_and_asks_what_runs_and_its_workers_hear_of_it(
    create: Create, worker: Any, post: Post, statuses: Any, received: Any
) -> None:
    for name in ("waits", "runs", "done", "elsewhere"):
        task = await create(name=name, queue="reports" if name == "elsewhere" else "default")
        await received.next()  # that it is due
        if name == "runs":
            await worker.claim(task["id"])
            running = UUID(task["id"])
        if name == "done":
            await worker.complete(task["id"])

    answer = await post("cancel", filter={"queue": "default"})
    again = await post("cancel", filter={"queue": "default"})

    assert (answer["changed"], answer["cancel_requested"], answer["next_cursor"]) == (2, 1, None)
    assert (again["changed"], again["cancel_requested"]) == (0, 0)
    assert await statuses() == {"waits": "CANCELLED", "runs": "IN_PROGRESS", "done": "COMPLETED", "elsewhere": "NEW"}
    signal = await received.next()
    assert (signal.kind, signal.ids) == (SignalKind.CANCEL, (running,))


async def test_rerun_begins_anew_what_failed_and_the_leader_hears_of_it(
    create: Create, worker: Any, post: Post, statuses: Any, received: Any
) -> None:
    for name, queue in (("failed", "default"), ("cancelled", "reports"), ("waits", "default")):
        task = await create(name=name, queue=queue)
        await received.next()  # that it is due
        if name == "failed":
            await worker.fail(task["id"])
    await post("cancel", filter={"name": "cancelled"})

    answer = await post("rerun", all=True)

    assert (answer["changed"], answer["cancel_requested"], answer["next_cursor"]) == (2, 0, None)
    assert await statuses() == {"failed": "PENDING", "cancelled": "PENDING", "waits": "NEW"}
    signals = [await received.next() for _ in range(2)]
    assert {(signal.kind, signal.queue) for signal in signals} == {
        (SignalKind.DUE, "default"),
        (SignalKind.DUE, "reports"),
    }


async def test_a_client_goes_on_by_the_cursor_until_there_is_none(create: Create, walk: Any, statuses: Any) -> None:
    for number in range(7):
        await create(name=f"task {number}")

    cancelled = [answer["changed"] async for answer in walk("cancel", filter={"type": "echo"}, limit=3)]
    rerun = [answer["changed"] async for answer in walk("rerun", all=True, limit=3)]

    assert cancelled == rerun == [3, 3, 1]
    assert set((await statuses()).values()) == {"PENDING"}


async def test_newest_tasks_are_changed_first(create: Create, post: Post, statuses: Any) -> None:
    await create(name="old")
    await create(name="new")

    await post("cancel", all=True, limit=1)

    assert await statuses() == {"old": "NEW", "new": "CANCELLED"}


async def test_a_repeat_with_the_cursor_reruns_nothing_twice_even_what_fails_again_at_once(
    create: Create, worker: Any, walk: Any, post: Post
) -> None:
    ids = [(await create())["id"] for _ in range(4)]
    for task_id in ids:
        await worker.fail(task_id)

    first = await post("rerun", **FAILED, limit=2)
    for task_id in ids[2:]:
        await worker.fail(task_id)
    second = await post("rerun", **FAILED, limit=2, cursor=first["next_cursor"])
    for task_id in ids[:2]:
        await worker.fail(task_id)
    repeats = [await post("rerun", **FAILED, limit=2, cursor=first["next_cursor"]) for _ in range(2)]

    assert (first["changed"], second["changed"]) == (2, 2)
    assert [answer["changed"] for answer in repeats] == [0, 0]


async def test_first_call_with_the_cursor_of_a_dry_run_can_be_repeated_too(
    create: Create, worker: Any, post: Post
) -> None:
    task = await create()
    await worker.fail(task["id"])

    start = (await post("rerun", **FAILED, dry_run=True))["start_cursor"]
    first = await post("rerun", **FAILED, cursor=start)
    await worker.fail(task["id"])
    repeated = await post("rerun", **FAILED, cursor=start)

    assert (first["changed"], repeated["changed"]) == (1, 0)


async def test_dry_run_counts_and_changes_nothing(
    create: Create, worker: Any, post: Post, statuses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        task = await create(name=f"task {number}")
        if number == 3:
            await worker.claim(task["id"])
    before = await statuses()

    counted = await post("cancel", filter={"name": "task"}, dry_run=True, limit=1)
    monkeypatch.setattr(limits, "TOTAL_MAX", 2)
    capped = await post("cancel", all=True, dry_run=True)

    assert counted.pop("start_cursor")
    assert counted == {"changed": 4, "changed_is_capped": False, "cancel_requested": 1, "next_cursor": None}
    assert (capped["changed"], capped["changed_is_capped"]) == (2, True)
    assert await statuses() == before


async def test_dry_run_counts_from_where_the_cursor_stands(create: Create, post: Post) -> None:
    for _ in range(3):
        await create()
    cursor = (await post("cancel", all=True, limit=1))["next_cursor"]

    counted = await post("cancel", all=True, dry_run=True, cursor=cursor)

    assert counted["changed"] == 2
    assert counted["start_cursor"] == cursor


async def test_two_callers_at_once_change_each_task_once(create: Create, walk: Any) -> None:
    for _ in range(20):
        await create()

    async def total() -> int:
        return sum([answer["changed"] async for answer in walk("cancel", all=True, limit=3)])

    assert sum(await asyncio.gather(*(total() for _ in range(4)))) == 20


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{}", "body"),
        (b'{"filter": {}}', "body.filter"),
        (b'{"filter": null}', "body.filter"),
        (b'{"all": false}', "body"),
        (b'{"all": true, "filter": {"queue": "a"}}', "body"),
        (b'{"filter": {"status": []}}', "body.filter.status"),
        (b'{"filter": {"queue": null}}', "body.filter.queue"),
        (b'{"filter": {"stats": ["NEW"]}}', "body.filter.stats"),
        (b'{"filter": {"status": ["NEW,PENDING"]}}', "body.filter.status.0"),
        (b'{"filter": {"name": "a\\u0000b"}}', "body.filter.name"),
        (b'{"filter": {"label": ["a:\\u0000"]}}', "body.filter.label.0"),
        (b'{"filter": {"name": "\\ud800"}}', "body"),
        (b'{"filter": {"created_to": 1e999}}', "body"),
        (b'{"all": true, "limit": 1001}', "body.limit"),
        (b'{"all": true, "cursor": "x"}', "body.cursor"),
        (b'{"all": true, "cursor": "%s"}' % (b"A" * 40), "body.cursor"),
        (b'{"all": true, "colour": "blue"}', "body.colour"),
    ],
)
async def test_a_broken_body_is_refused_by_the_name_of_its_field_and_changes_nothing(
    shared_client: httpx2.AsyncClient, call: str, body: bytes, field: str
) -> None:
    answer = await shared_client.post(call, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize("call", CALLS)
async def test_many_wrong_values_cost_little_and_are_counted(shared_client: httpx2.AsyncClient, call: str) -> None:
    body = json.dumps({"filter": {"status": ["x"] * 80_000}})

    answer = await shared_client.post(call, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert "too many to name them" in answer.json()["errors"][0]["message"]


async def test_a_cursor_of_another_call_or_filter_or_one_that_was_altered_is_refused(
    create: Create, post: Post, client: httpx2.AsyncClient
) -> None:
    for _ in range(2):
        await create()
    cursor = (await post("cancel", filter={"queue": "default"}, limit=1))["next_cursor"]
    altered = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    listed = (await client.get(TASKS, params={"limit": 1})).json()["next_cursor"]

    for call, wanted, given in (
        ("rerun", {"filter": {"queue": "default"}}, cursor),
        ("cancel", {"filter": {"queue": "reports"}}, cursor),
        ("cancel", {"all": True}, cursor),
        ("cancel", {"filter": {"queue": "default"}}, altered),
        ("cancel", {"filter": {"queue": "default"}}, listed),
    ):
        answer = await client.post(f"{TASKS}/{call}", json={**wanted, "cursor": given})

        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["body.cursor"]
    assert (await post("cancel", filter={"queue": "default"}, cursor=cursor))["changed"] == 1


async def test_call_that_gets_no_answer_in_time_is_503_and_its_repeat_does_the_rest(
    open_parts: Any, open_client: Any, database_url: str, sql: asyncpg.Connection
) -> None:
    async with (
        open_parts(database_url, deadlines=Deadlines(request_seconds=0.5)) as parts,
        open_client(parts) as client,
    ):
        ids = [(await client.post(TASKS, json={"name": "a task"})).json()["id"] for _ in range(3)]
        async with sql.transaction():
            await sql.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", ids[1])
            answer = await client.post(f"{TASKS}/cancel", json={"all": True})
            assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'CANCELLED'") == 0

        repeated = await client.post(f"{TASKS}/cancel", json={"all": True})
        statuses = [(await client.get(f"{TASKS}/{one}")).json()["status"] for one in ids]

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    # The first call was given up; it may have been carried out all the same once the row was free.
    assert (repeated.status_code, repeated.json()["changed"] in (0, 3)) == (200, True)
    assert set(statuses) == {"CANCELLED"}
