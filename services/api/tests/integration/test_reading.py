from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx2
import pytest

from task_contracts import Task, TaskState
from task_contracts.testing import an_id

TASKS = "/api/v1/tasks"
Create = Callable[..., Awaitable[dict[str, Any]]]
BOTH = pytest.mark.parametrize("suffix", ["", "/status"], ids=["task", "status"])


async def test_a_completed_task_shows_what_it_returned(client: httpx2.AsyncClient, create: Create, worker: Any) -> None:
    task = await create(payload={"n": 1})
    await worker.complete(task["id"], '{"n": 1}')

    read = Task.model_validate_json((await client.get(f"{TASKS}/{task['id']}")).content)

    assert (read.status, read.result, read.attempt, read.worker_id) == ("COMPLETED", {"n": 1}, 1, worker.id)
    assert read.created_at <= read.started_at <= read.finished_at


async def test_a_failed_task_shows_why(client: httpx2.AsyncClient, create: Create, worker: Any) -> None:
    task = await create()
    await worker.fail(task["id"])

    read = (await client.get(f"{TASKS}/{task['id']}")).json()

    assert read["status"] == "FAILED"
    assert read["error"] == {"code": "handler_error", "message": "it broke", "type": "RuntimeError"}


async def test_the_status_leaves_out_what_may_be_large(client: httpx2.AsyncClient, create: Create) -> None:
    task = await create(payload={"large": "x" * 1000})

    answer = await client.get(f"{TASKS}/{task['id']}/status")

    assert set(answer.json()) == set(TaskState.model_fields)
    assert answer.json()["version"] == 1


@BOTH
async def test_an_unknown_id_is_404(client: httpx2.AsyncClient, suffix: str) -> None:
    answer = await client.get(f"{TASKS}/{an_id()}{suffix}")

    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")


@BOTH
async def test_a_caller_that_has_this_version_gets_304_until_the_task_changes(
    client: httpx2.AsyncClient, create: Create, suffix: str
) -> None:
    task = await create()
    path = f"{TASKS}/{task['id']}{suffix}"
    etag = (await client.get(path)).headers["etag"]

    known = await client.get(path, headers={"if-none-match": etag})
    await client.delete(f"{TASKS}/{task['id']}")
    changed = await client.get(path, headers={"if-none-match": etag})

    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    assert (changed.status_code, changed.json()["status"]) == (200, "CANCELLED")
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("labels", '{"a": 1e400}'),
        ("labels", "[1]"),
        ("progress", '{"percent": "no"}'),
        ("error", '"x"'),
        ("payload", '{"x": 1e999}'),
        ("payload", '{"a":' * 300 + "1" + "}" * 300),
    ],
    ids=lambda value: value[:20],
)
async def test_json_that_cannot_be_read_is_a_problem_in_its_place_in_every_answer(
    client: httpx2.AsyncClient, create: Create, sql: asyncpg.Connection, column: str, text: str
) -> None:
    bad_id, good_id = [(await create())["id"] for _ in range(2)]
    kind = "json" if column == "payload" else "jsonb"
    may_have_error = ", status = 'PENDING'" if column == "error" else ""
    await sql.execute(f"UPDATE tasks SET {column} = $1::text::{kind}{may_have_error} WHERE id = $2", text, bad_id)

    read = await client.get(f"{TASKS}/{bad_id}")
    state = await client.get(f"{TASKS}/{bad_id}/status")
    full = await client.get(TASKS, params={"view": "full"})
    summaries = await client.get(TASKS)
    cancelled = await client.delete(f"{TASKS}/{bad_id}")

    assert [one.status_code for one in (read, state, full, summaries, cancelled)] == [200] * 5
    assert f"the stored {column} cannot be read" in read.json()[column]["message"]
    assert full.json()["items"][1] == read.json() == Task.model_validate_json(read.content).model_dump(mode="json")
    assert [task["id"] for task in summaries.json()["items"]] == [good_id, bad_id]
    assert cancelled.json()[column] == read.json()[column]


async def test_wherever_a_task_is_shown_no_cache_may_share_it_or_use_it_unasked(
    client: httpx2.AsyncClient,
) -> None:
    created = await client.post(TASKS, json={"name": "a task"})
    path = created.headers["location"]
    task, status, page = [await client.get(shown) for shown in (path, f"{path}/status", TASKS)]
    tag = {"if-none-match": task.headers["etag"]}
    unchanged = [await client.get(path, headers=tag), await client.get(f"{path}/status", headers=tag)]
    cancelled = await client.delete(path)

    answers = [created, task, status, page, *unchanged, cancelled]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 304, 304, 200]
    assert {answer.headers["cache-control"] for answer in answers} == {"private, no-cache"}


@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/{{}}", f"{TASKS}/{{}}/status"])
async def test_head_is_answered_as_get_is(client: httpx2.AsyncClient, create: Create, path: str) -> None:
    path = path.format((await create())["id"])

    get, head = await client.get(path), await client.head(path)

    assert head.status_code == 200
    assert _without_id(head) == _without_id(get)


def _without_id(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}
