"""What failed and why: attempts, kinds of failures, and the filters that find and rerun them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from task_api.parts import ApiParts
from task_contracts import Attempt, ErrorGroup, FailureKind, ItemList, TaskError
from task_store import Attempts, CountedFailure, Ending, Failures

TASKS = "/api/v1/tasks"
ERRORS = "/api/v1/errors"
KIND = FailureKind("echo", "FileNotFoundError", "reports.build in render")
Create = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def fail(parts: ApiParts, worker: Any) -> Callable[..., Awaitable[None]]:
    """Claim a task and let it fail."""

    async def failed(task_id: str, kind: FailureKind = KIND, traceback: str = "Traceback: here") -> None:
        error = TaskError(code="handler_error", message="\x1b[2Jno file", type="FileNotFoundError")
        ending = Ending.fail(await worker.claim(task_id), error, kind=kind, traceback=traceback)
        assert await Attempts(parts.database).record(ending)

    return failed


@pytest.fixture
def ids(client: httpx2.AsyncClient) -> Callable[..., Awaitable[list[str]]]:
    """List tasks, oldest first, and return their ids."""

    async def found(**params: Any) -> list[str]:
        answer = await client.get(TASKS, params={"order": "oldest", **params})
        assert answer.status_code == 200, answer.text
        return [task["id"] for task in answer.json()["items"]]

    return found


async def test_attempts_show_where_a_task_ran_and_how_it_failed(
    client: httpx2.AsyncClient, create: Create, fail: Any, worker: Any, sql: asyncpg.Connection
) -> None:
    await sql.execute("UPDATE workers SET host = 'box', pid = 7")
    task = await create()
    await fail(task["id"])
    await client.post(f"{TASKS}/{task['id']}/rerun")
    await worker.claim(task["id"])

    answer = await client.get(f"{TASKS}/{task['id']}/attempts")

    first, second = ItemList[Attempt].model_validate_json(answer.content).items
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert (first.attempt, first.outcome, first.traceback) == (1, "FAIL", "Traceback: here")
    assert first.error is not None
    assert first.error.message == "\x1b[2Jno file"
    assert b"\x1b" not in answer.content
    assert (second.attempt, second.outcome, second.ended_at) == (2, None, None)
    assert {(one.worker_id, one.host, one.pid) for one in (first, second)} == {(worker.id, "box", 7)}


async def test_task_without_attempts_has_none_and_an_unknown_one_is_404(
    client: httpx2.AsyncClient, create: Create
) -> None:
    assert (await client.get(f"{TASKS}/{(await create())['id']}/attempts")).json() == {"items": []}
    assert (await client.get(f"{TASKS}/{uuid4()}/attempts")).status_code == 404
    assert (await client.get(f"{TASKS}/no-id/attempts")).status_code == 422


async def test_errors_are_the_kinds_of_failures_most_first(client: httpx2.AsyncClient, parts: ApiParts) -> None:
    assert (await client.get(ERRORS)).json() == {"items": []}
    example = uuid4()
    rare = FailureKind("echo", "KeyError", "reports.build in load")
    await Failures(parts.database).count(
        [CountedFailure(rare, 1, "'x'", uuid4(), 3.0, 3.0), CountedFailure(KIND, 4, "no file", example, 9.0, 1.0)]
    )

    answer = await client.get(ERRORS)

    first, second = ItemList[ErrorGroup].model_validate_json(answer.content).items
    assert (first.fingerprint, first.count, first.message, first.example_id) == (
        *(KIND.fingerprint, 4, "no file"),
        example,
    )
    assert (second.exception, second.frame) == ("KeyError", "reports.build in load")


async def test_kind_of_failure_is_listed_and_rerun_by_its_fingerprint(
    client: httpx2.AsyncClient, create: Create, fail: Any, ids: Any
) -> None:
    tasks = [(await create())["id"] for _ in range(3)]
    for task_id in tasks[:2]:
        await fail(task_id)
    await fail(tasks[2], FailureKind("echo", "KeyError"))
    wanted = {"fingerprint": KIND.fingerprint}

    listed = await ids(**wanted)
    dry = await client.post(f"{TASKS}/rerun", json={"filter": wanted, "dry_run": True})
    rerun = await client.post(f"{TASKS}/rerun", json={"filter": wanted})

    assert listed == tasks[:2]
    assert (dry.json()["changed"], rerun.json()["changed"]) == (2, 2)
    assert await ids(status="PENDING") == tasks[:2]
    assert await ids(**wanted) == []


async def test_what_a_worker_runs_is_listed_and_cancelled_by_it(
    client: httpx2.AsyncClient, create: Create, worker: Any, ids: Any
) -> None:
    runs, waits = (await create())["id"], (await create())["id"]
    await worker.claim(runs)
    wanted = {"worker": str(worker.id)}

    assert await ids(**wanted) == [runs]
    assert await ids(worker=str(uuid4())) == []
    answer = await client.post(f"{TASKS}/cancel", json={"filter": wanted})

    assert answer.json()["cancel_requested"] == 1
    assert await ids(status="NEW") == [waits]


async def test_list_by_the_time_of_the_end(create: Create, worker: Any, ids: Any, client: httpx2.AsyncClient) -> None:
    first, second, _ = [(await create())["id"] for _ in range(3)]
    for task_id in (second, first):
        await worker.complete(task_id)
    at = datetime.fromisoformat((await client.get(f"{TASKS}/{first}")).json()["finished_at"])

    assert await ids(finished_from=at.isoformat()) == [first]
    assert await ids(finished_to=at.isoformat()) == [second]
    assert await ids(finished_from="0001-01-01T00:00:00+14:00", finished_to="9999-12-31T23:59:59-12:00") == [
        *[first, second]
    ]
    assert await ids(finished_from="9999-12-31T23:59:59-12:00") == []


async def test_list_by_the_beginning_of_the_id(create: Create, ids: Any) -> None:
    task_id = (await create())["id"]

    for length in (8, 9, 12, 36):
        assert await ids(id_prefix=task_id[:length]) == [task_id]
    assert await ids(id_prefix=UUID(task_id).hex[:30].upper()) == [task_id]
    assert await ids(id_prefix="00000000") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("fingerprint=other", "query.fingerprint"),
        ("fingerprint=4F0C2B9A1D3E5F60", "query.fingerprint"),
        ("fingerprint=%00", "query.fingerprint"),
        ("worker=box-7", "query.worker"),
        ("worker=", "query.worker"),
        ("finished_from=yesterday", "query.finished_from"),
        ("id_prefix=019ab5e", "query.id_prefix"),
        ("id_prefix=019ab5e2--", "query.id_prefix"),
        ("id_prefix=019ab5eg", "query.id_prefix"),
        ("id_prefix=019ab5e2%0A", "query.id_prefix"),
        (f"fingerprint={'0' * 16}&fingerprint={'1' * 16}", "query.fingerprint"),
    ],
)
async def test_wrong_filter_is_refused_by_its_name(query: str, field: str, client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"{TASKS}?{query}")

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("name", ["fingerprint", "worker", "finished_from", "finished_to", "id_prefix"])
async def test_condition_that_is_null_or_empty_changes_nothing(name: str, client: httpx2.AsyncClient) -> None:
    for value in (None, ""):
        answer = await client.post(f"{TASKS}/rerun", json={"filter": {name: value}})

        assert answer.status_code == 422
