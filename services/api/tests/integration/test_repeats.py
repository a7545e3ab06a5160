"""A POST with an Idempotency-Key may be repeated: whatever became of the first one, the tasks exist once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx2
import pytest

from task_contracts import CreatedTasks, SignalKind, Task, limits

TASKS = "/api/v1/tasks"
BATCH = f"{TASKS}/batch"
JSON = {"content-type": "application/json"}
KEY = "Idempotency-Key"
REPLAYED = "idempotency-replayed"

CALLS = {
    "a task": (TASKS, {"name": "a task", "payload": {"n": 1}}),
    "a batch": (BATCH, {"tasks": [{"name": f"task {n}", "payload": {"n": n}} for n in range(20)]}),
    "a batch of all that may be asked for": (
        BATCH,
        {
            "tasks": [
                {
                    "name": 'a "task" \\ 😀',
                    "description": "on\ntwo lines",
                    "type": "report",
                    "labels": {"ключ": "é"},
                    "priority": "HIGH",
                    "run_at": "2010-01-01T00:00:00+02:00",
                    "timeout_seconds": 1.25,
                    "max_attempts": 3,
                },
                {"name": "\u20ac", "run_at": "2001-01-01T00:00:00.000001Z", "timeout_seconds": 3600},
            ]
        },
    ),
}


@pytest.fixture
def count(sql: asyncpg.Connection) -> Callable[[], Awaitable[int]]:
    async def counted() -> int:
        return int(await sql.fetchval("SELECT count(*) FROM tasks"))

    return counted


@pytest.mark.parametrize(("path", "body"), CALLS.values(), ids=CALLS)
async def test_a_repeat_answers_as_the_first_and_says_so(
    path: str, body: Any, client: httpx2.AsyncClient, count: Any
) -> None:
    first, again = [await client.post(path, json=body, headers={KEY: "k"}) for _ in range(2)]

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert first.headers.get("location") == again.headers.get("location")
    assert (first.headers.get(REPLAYED), again.headers.get(REPLAYED)) == (None, "true")
    assert await count() == len(body.get("tasks", "1"))


async def test_a_repeat_shows_the_task_as_it_is_now(client: httpx2.AsyncClient) -> None:
    path, body = CALLS["a task"]
    first = await client.post(path, json=body, headers={KEY: "k"})
    await client.delete(first.headers["location"])

    again = await client.post(path, json=body, headers={KEY: "k"})

    assert again.headers["location"] == first.headers["location"]
    assert Task.model_validate_json(again.content).status == "CANCELLED"


@pytest.mark.parametrize(("path", "body"), CALLS.values(), ids=CALLS)
async def test_without_a_key_each_call_creates(path: str, body: Any, client: httpx2.AsyncClient, count: Any) -> None:
    answers = [await client.post(path, json=body) for _ in range(2)]

    assert all(REPLAYED not in answer.headers for answer in answers)
    assert await count() == 2 * len(body.get("tasks", "1"))


@pytest.mark.parametrize(("path", "body"), CALLS.values(), ids=CALLS)
async def test_fifty_requests_with_one_key_at_one_moment_create_once(
    path: str, body: Any, client: httpx2.AsyncClient, count: Any
) -> None:
    answers = await asyncio.gather(*(client.post(path, json=body, headers={KEY: "k"}) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {201}
    assert [REPLAYED in answer.headers for answer in answers].count(False) == 1
    assert len({answer.text for answer in answers}) == 1
    assert await count() == len(body.get("tasks", "1"))


@pytest.mark.parametrize(("path", "body"), CALLS.values(), ids=CALLS)
async def test_a_request_that_is_cut_off_at_any_moment_and_repeated_creates_once(
    path: str, body: Any, client: httpx2.AsyncClient, count: Any
) -> None:
    for turn in range(40):
        cut_off = asyncio.create_task(client.post(path, json=body, headers={KEY: f"turn-{turn}"}))
        for _ in range(turn):
            await asyncio.sleep(0)
        cut_off.cancel()

        repeat = await client.post(path, json=body, headers={KEY: f"turn-{turn}"})

        assert repeat.status_code == 201

    assert await count() == 40 * len(body.get("tasks", "1"))


@pytest.mark.parametrize(("path", "body"), CALLS.values(), ids=CALLS)
async def test_the_same_json_written_otherwise_is_a_repeat(path: str, body: Any, client: httpx2.AsyncClient) -> None:
    await client.post(path, json=body, headers={KEY: "k"})
    backwards = json.dumps(
        json.loads(json.dumps(body), object_pairs_hook=lambda pairs: dict(reversed(pairs))), indent=4
    )

    again = await client.post(path, content=backwards, headers={KEY: "k", **JSON})

    assert again.headers[REPLAYED] == "true"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TASKS, {"name": "a task", "payload": {"n": 2}}),
        (TASKS, {"name": "a task", "payload": {"n": 1}, "priority": "MEDIUM"}),  # a default is not what was sent
        (*CALLS["a batch"],),
    ],
    ids=["another body", "a default added", "the other call"],
)
async def test_a_key_of_another_request_is_refused_and_creates_nothing(
    path: str, body: Any, client: httpx2.AsyncClient, count: Any
) -> None:
    first, task = CALLS["a task"]
    await client.post(first, json=task, headers={KEY: "k"})

    answer = await client.post(path, json=body, headers={KEY: "k"})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert await count() == 1


@pytest.mark.parametrize("purged", [0, 7])
async def test_the_key_of_a_partly_purged_batch_has_expired(
    purged: int, client: httpx2.AsyncClient, sql: asyncpg.Connection
) -> None:
    path, body = CALLS["a batch"]
    created = await client.post(path, json=body, headers={KEY: "k"})
    await sql.execute("DELETE FROM tasks WHERE id = $1", created.json()["items"][purged]["id"])

    answer = await client.post(path, json=body, headers={KEY: "k"})

    assert (answer.status_code, answer.json()["code"]) == (409, "key_expired")


@pytest.mark.parametrize("path", [TASKS, BATCH])
@pytest.mark.parametrize(
    "keys",
    [[b""], [b"a b"], [b"\xc3\xa9"], [b"\x7f"], [b"k" * 256], [b"k", b"k"], [b"k", b"l"]],
    ids=["empty", "a space", "no ASCII", "invisible", "too long", "twice", "two"],
)
async def test_a_key_that_is_none_is_refused_by_name(
    path: str, keys: list[bytes], client: httpx2.AsyncClient, count: Any
) -> None:
    body = next(body for at, body in CALLS.values() if at == path)
    headers = [(b"idempotency-key", key) for key in keys]

    answer = await client.post(path, json=body, headers=headers)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["header.Idempotency-Key"]
    assert await count() == 0


@pytest.mark.parametrize(
    "key", ["!", '"8e03978e"', "~" * limits.IDEMPOTENCY_KEY_CHARS, "a,b", "'; DROP TABLE tasks"[:1]]
)
async def test_a_key_is_taken_as_it_is_and_found_by_it(key: str, client: httpx2.AsyncClient) -> None:
    path, body = CALLS["a batch"]
    created = await client.post(path, json=body, headers={KEY: key})
    await client.post(TASKS, json={"name": "of another key"}, headers={KEY: "of-another"})
    await client.post(TASKS, json={"name": "of none"})

    found = await client.get(TASKS, params={"idempotency_key": key})

    assert found.json()["items"] == created.json()["items"]


async def test_a_list_by_key_is_in_the_order_of_the_batch_unless_asked_otherwise(client: httpx2.AsyncClient) -> None:
    path, body = CALLS["a batch"]
    created = (await client.post(path, json=body, headers={KEY: "k"})).json()["items"]

    async def listed(**params: Any) -> list[Any]:
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await client.get(TASKS, params={"idempotency_key": "k", "limit": 7, **params, **cursor})
            found += page.json()["items"]
            if page.json()["next_cursor"] is None:
                return found
            cursor = {"cursor": page.json()["next_cursor"]}

    assert await listed() == created
    assert await listed(order="oldest") == created
    assert await listed(order="newest") == created[::-1]
    total = await client.get(TASKS, params={"idempotency_key": "k", "include_total": True, "limit": 1})
    assert total.json()["total"] == len(created)


async def test_a_key_that_nobody_sent_has_no_tasks(client: httpx2.AsyncClient) -> None:
    assert (await client.get(TASKS, params={"idempotency_key": "k"})).json()["items"] == []
    wrong = await client.get(TASKS, params={"idempotency_key": "a b"})
    assert [error["field"] for error in wrong.json()["errors"]] == ["query.idempotency_key"]


async def test_a_batch_is_answered_in_its_order_and_wakes_each_queue_once(
    client: httpx2.AsyncClient, received: Any
) -> None:
    tasks = [{"name": f"task {n}", "queue": "reports" if n % 2 else "default"} for n in range(limits.BATCH_TASKS_MAX)]

    answer = await client.post(BATCH, json={"tasks": tasks})

    assert answer.status_code == 201
    created = CreatedTasks.model_validate_json(answer.content)
    assert [item.name for item in created.items] == [task["name"] for task in tasks]
    assert "payload" not in answer.json()["items"][0]
    signals = [await received.next() for _ in range(2)]
    assert {(signal.kind, signal.queue) for signal in signals} == {
        (SignalKind.DUE, "default"),
        (SignalKind.DUE, "reports"),
    }
    read = await client.get(f"{TASKS}/{created.items[17].id}/status")
    assert read.json()["status"] == "NEW"
