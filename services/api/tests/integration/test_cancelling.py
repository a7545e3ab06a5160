from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx2
import pytest

from task_contracts import SignalKind, TaskStatus
from task_contracts.lifecycle import CANCELLATION, refusal
from task_contracts.testing import an_id

TASKS = "/api/v1/tasks"
Create = Callable[..., Awaitable[dict[str, Any]]]


async def test_a_waiting_task_is_cancelled_and_a_repeat_says_the_same(
    client: httpx2.AsyncClient, create: Create
) -> None:
    task = await create()

    answers = [await client.delete(f"{TASKS}/{task['id']}") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json()["status"] == "CANCELLED"
    assert answers[0].json() == answers[1].json() == answers[2].json()


async def test_a_running_task_is_asked_to_stop_and_its_worker_hears_of_it(
    client: httpx2.AsyncClient, create: Create, worker: Any, received: Any
) -> None:
    task = await create()
    await received.next()  # that it is due
    await worker.claim(task["id"])

    for _ in range(2):
        answer = await client.delete(f"{TASKS}/{task['id']}")

        assert answer.status_code == 202
        assert answer.json()["status"] == "IN_PROGRESS"
        assert answer.json()["cancel_requested_at"] is not None
        signal = await received.next()
        assert (signal.kind, signal.ids) == (SignalKind.CANCEL, (UUID(task["id"]),))


@pytest.mark.parametrize("end", ["complete", "fail"])
async def test_a_finished_task_cannot_be_cancelled_and_the_answer_says_why(
    client: httpx2.AsyncClient, create: Create, worker: Any, end: str
) -> None:
    task = await create()
    await getattr(worker, end)(task["id"])

    answer = await client.delete(f"{TASKS}/{task['id']}")

    status = TaskStatus.COMPLETED if end == "complete" else TaskStatus.FAILED
    assert answer.status_code == 409
    assert (answer.json()["code"], answer.json()["detail"]) == ("task_finished", refusal(status, *CANCELLATION))


async def test_an_unknown_id_is_404(client: httpx2.AsyncClient) -> None:
    answer = await client.delete(f"{TASKS}/{an_id()}")

    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")
