"""PATCH and rerun of one task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from task_contracts import SignalKind, TaskStatus
from task_contracts.lifecycle import Event, refusal
from task_contracts.testing import an_id

TASKS = "/api/v1/tasks"
Create = Callable[..., Awaitable[dict[str, Any]]]


def later() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_priority_and_time_change_alone_or_together_and_the_rest_stays(
    client: httpx2.AsyncClient, create: Create
) -> None:
    task = await create(priority="LOW", run_at=later())
    path, run_at = f"{TASKS}/{task['id']}", later()

    by_priority = (await client.patch(path, json={"priority": "HIGH"})).json()
    by_time = (await client.patch(path, json={"run_at": run_at})).json()
    by_both = (await client.patch(path, json={"priority": "MEDIUM", "run_at": None})).json()

    assert by_priority == {**task, "priority": "HIGH", "version": 2}
    assert (by_time["priority"], by_time["version"]) == ("HIGH", 3)
    assert time_of(by_time["run_at"]) == time_of(by_time["due_at"]) == time_of(run_at)
    assert (by_both["priority"], by_both["run_at"], by_both["version"]) == ("MEDIUM", None, 4)
    assert time_of(by_both["due_at"]) < time_of(task["due_at"])
    assert (await client.get(path)).json() == by_both


async def test_leader_hears_of_a_change_and_of_a_rerun(
    client: httpx2.AsyncClient, create: Create, worker: Any, received: Any
) -> None:
    later_task, failed = await create(queue="reports", run_at=later()), await create()
    await received.next()  # that the second is due
    await worker.fail(failed["id"])

    await client.patch(f"{TASKS}/{later_task['id']}", json={"run_at": None})
    await client.post(f"{TASKS}/{failed['id']}/rerun")

    signals = [await received.next() for _ in range(2)]
    assert [(signal.kind, signal.queue) for signal in signals] == [
        (SignalKind.DUE, "reports"),
        (SignalKind.DUE, "default"),
    ]


@pytest.mark.parametrize("header", ['W/"1"', '"1"', '"7", W/"1"', "*"])
async def test_change_of_the_version_that_the_caller_knows_is_made(
    client: httpx2.AsyncClient, create: Create, header: str
) -> None:
    path = f"{TASKS}/{(await create())['id']}"

    answer = await client.patch(path, json={"priority": "HIGH"}, headers={"If-Match": header})

    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert answer.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("header", ['W/"2"', '"11"', "1", "", "x" * 1000, '"99999999999999999999"'])
async def test_change_of_another_version_is_412_and_changes_nothing(
    client: httpx2.AsyncClient, create: Create, header: str
) -> None:
    task = await create()
    path = f"{TASKS}/{task['id']}"

    answer = await client.patch(path, json={"priority": "HIGH"}, headers={"If-Match": header})

    assert (answer.status_code, answer.json()["code"]) == (412, "version_mismatch")
    assert "version 1," in answer.json()["detail"]
    assert (await client.get(path)).json() == task


async def test_of_two_callers_who_know_one_version_one_wins(client: httpx2.AsyncClient, create: Create) -> None:
    path = f"{TASKS}/{(await create())['id']}"

    answers = await asyncio.gather(
        *(client.patch(path, json={"priority": one}, headers={"If-Match": 'W/"1"'}) for one in ("HIGH", "LOW"))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412]


@pytest.mark.parametrize("if_match", [{}, {"If-Match": "*"}], ids=["without", "with any version"])
async def test_a_task_that_does_not_wait_cannot_be_changed_and_the_answer_says_why(
    client: httpx2.AsyncClient, create: Create, worker: Any, if_match: dict[str, str]
) -> None:
    running, done = await create(), await create()
    await worker.claim(running["id"])
    await worker.complete(done["id"])

    for task, status in ((running, TaskStatus.IN_PROGRESS), (done, TaskStatus.COMPLETED)):
        answer = await client.patch(f"{TASKS}/{task['id']}", json={"priority": "HIGH"}, headers=if_match)

        assert answer.status_code == 409
        assert answer.json()["code"] == "wrong_status"
        assert answer.json()["detail"] == refusal(status, Event.RESCHEDULE)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"priority": None}, "body.priority"),
        ({"priority": "high"}, "body.priority"),
        ({"run_at": "soon"}, "body.run_at"),
        ({"run_at": "9999-12-31T23:59:59-12:00"}, "body.run_at"),
        ({"priority": "HIGH", "name": "x"}, "body.name"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_a_broken_change_is_refused_by_the_name_of_its_field(
    shared_client: httpx2.AsyncClient, body: Any, field: str
) -> None:
    answer = await shared_client.patch(f"{TASKS}/{an_id()}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["errors"][0]["field"] == field


async def test_rerun_begins_anew_and_says_the_new_version(
    client: httpx2.AsyncClient, create: Create, worker: Any
) -> None:
    failed, cancelled = await create(payload={"n": 1}), await create()
    await worker.fail(failed["id"])
    await client.delete(f"{TASKS}/{cancelled['id']}")

    for task in (failed, cancelled):
        answer = await client.post(f"{TASKS}/{task['id']}/rerun")

        rerun = answer.json()
        assert answer.status_code == 200
        assert answer.headers["etag"] == f'W/"{rerun["version"]}"'
        assert (rerun["status"], rerun["rerun_count"], rerun["failures"]) == ("PENDING", 1, 0)
        assert (rerun["error"], rerun["finished_at"], rerun["payload"]) == (None, None, task["payload"])
        assert (await client.get(f"{TASKS}/{task['id']}")).json() == rerun
    await worker.complete(failed["id"])


async def test_only_what_failed_or_was_cancelled_can_be_rerun_so_a_repeat_reruns_nothing_that_waits(
    client: httpx2.AsyncClient, create: Create, worker: Any
) -> None:
    task, done = await create(), await create()
    await worker.fail(task["id"])
    await worker.complete(done["id"])
    await client.post(f"{TASKS}/{task['id']}/rerun")

    for one, status in ((task, TaskStatus.PENDING), (done, TaskStatus.COMPLETED)):
        answer = await client.post(f"{TASKS}/{one['id']}/rerun")

        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_status")
        assert answer.json()["detail"] == refusal(status, Event.RERUN)
    assert (await client.get(f"{TASKS}/{task['id']}")).json()["rerun_count"] == 1


async def test_an_unknown_id_is_404_whatever_is_asked(client: httpx2.AsyncClient) -> None:
    path = f"{TASKS}/{an_id()}"

    answers = [
        await client.patch(path, json={"priority": "HIGH"}),
        await client.patch(path, json={"priority": "HIGH"}, headers={"If-Match": '"1"'}),
        await client.post(f"{path}/rerun"),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "task_not_found")] * 3
