"""Explanations over the rows that each event of the life cycle leaves behind, written by the store's own statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from task_api.parts import ApiParts
from task_contracts import Explanation, Priority, Reason, TaskError, TaskUpdate, limits
from task_contracts.lifecycle import Event
from task_contracts.testing import a_create
from task_store import (
    Attempts,
    Claim,
    Claims,
    Dispatches,
    DispatchQuota,
    Ending,
    LiveOffers,
    NewTask,
    Offer,
    Tasks,
    WorkerProcess,
    Workers,
    new_lease_token,
    new_worker_id,
)
from task_store.testing import Table, connect_past_store

LEASE = timedelta(minutes=5)
SECONDS = timedelta(seconds=90)
ERROR = TaskError(code="handler_error", message="it broke", type="RuntimeError")
WHERE = "web-1 (pid 4711)"

Explain = Callable[[Any], Awaitable[Explanation]]


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[Table]:
    connection = await connect_past_store(database_url)
    yield Table(connection)
    await connection.close(timeout=10)


@pytest.fixture
def explain(client: httpx2.AsyncClient) -> Explain:
    async def one(task_id: Any) -> Explanation:
        answer = await client.get(f"/api/v1/tasks/{task_id}/explain")
        assert answer.status_code == 200, answer.text
        return Explanation.model_validate_json(answer.content)

    return one


class Life:
    """Leads a task to where an event leaves it."""

    def __init__(self, parts: ApiParts, table: Table) -> None:
        database, offer = parts.database, Offer(("default",), {"echo": None})
        self.table = table
        self.worker_id = new_worker_id()
        self.offer = offer
        self.workers = Workers(database)
        self.tasks = Tasks(database)
        self.attempts = Attempts(database)
        self.dispatches = Dispatches(database, database)
        self.claims = Claims(database, database, database, offer, dict.fromkeys(Priority, 1))

    async def lead(self, event: Event) -> UUID:
        """Return a task to which `event` happened last."""
        await self.workers.register(self.worker_id, self.offer, LEASE, WorkerProcess("web-1", 4711, "0.1.0", 10))
        new = NewTask(a_create(), "lost" if event is Event.REJECT else "echo")
        task_id = (await self.tasks.create(new)).id
        await getattr(self, f"_{event.lower()}", self._end)(task_id, event)
        return task_id

    async def _create(self, *_: object) -> None: ...

    async def _dispatch(self, *_: object) -> None:
        quotas = [DispatchQuota("default", Priority.MEDIUM, 10)]
        assert await self.dispatches.mark(quotas, LiveOffers({"default": ("echo",)}, {"default": 1}))

    async def _claim(self, task_id: UUID, *_: object) -> Claim:
        (claim,) = (await self.claims.by_id(self.worker_id, [task_id], new_lease_token())).claims
        return claim

    async def _end(self, task_id: UUID, event: Event) -> None:
        ending: dict[Event, Callable[[Claim], Ending]] = {
            Event.COMPLETE: lambda claim: Ending.complete(claim, None),
            Event.RETRY: lambda claim: Ending.retry(claim, ERROR, after=SECONDS),
            Event.FAIL: lambda claim: Ending.fail(claim, ERROR),
            Event.SNOOZE: lambda claim: Ending.snooze(claim, after=SECONDS),
            Event.RELEASE: lambda claim: Ending.release(claim),
        }
        assert await self.attempts.record(ending[event](await self._claim(task_id)))

    async def _request_cancel(self, task_id: UUID, *_: object) -> Claim:
        claim = await self._claim(task_id)
        await self.tasks.cancel(task_id)
        return claim

    async def _confirm_cancel(self, task_id: UUID, *_: object) -> None:
        ended = await self.attempts.record(Ending.release(await self._request_cancel(task_id)))
        assert ended is not None
        assert ended.event is Event.CONFIRM_CANCEL

    async def _sweep(self, task_id: UUID, event: Event) -> None:
        await self._claim(task_id)
        if event is Event.ABANDON:
            await self.table.set("tasks", task_id, lost_count=2)
        if event is Event.CANCEL_LOST:
            await self.tasks.cancel(task_id)
        await self.table.set("workers", self.worker_id, dead_at=timedelta(seconds=-1))
        (ended,) = await self.workers.sweep([self.worker_id], rows=10)
        assert ended.event is event
        await self.table.worker()

    _rescue = _abandon = _cancel_lost = _sweep

    async def _cancel(self, task_id: UUID, *_: object) -> None:
        await self.tasks.cancel(task_id)

    async def _reschedule(self, task_id: UUID, *_: object) -> None:
        later = await self.table.now() + timedelta(hours=3)
        await self.tasks.reschedule(task_id, TaskUpdate(run_at=later))

    async def _reject(self, task_id: UUID, *_: object) -> None:
        await self.table.set("tasks", task_id, due_at=-LEASE)
        assert await self.workers.reject(LEASE, rows=10) == [(task_id, "lost")]

    async def _rerun(self, task_id: UUID, *_: object) -> None:
        await self._end(task_id, Event.FAIL)
        await self.tasks.rerun(task_id)


@pytest.fixture
def life(parts: ApiParts, table: Table) -> Life:
    return Life(parts, table)


AFTER = {
    Event.CREATE: (
        Reason.NEXT,
        "Waits as the next of its queue, priority and type; 1 live worker with its type had 10",
    ),
    Event.DISPATCH: (Reason.NEXT, "Waits as the next"),
    Event.CLAIM: (Reason.RUNNING, f"Runs: attempt 1 on {WHERE}, for "),
    Event.COMPLETE: (Reason.COMPLETED, f"began on {WHERE}."),
    Event.RETRY: (Reason.RETRY_NOT_DUE, "an attempt failed with handler_error: it broke."),
    Event.FAIL: (Reason.FAILED, f"began on {WHERE}, with handler_error: it broke."),
    Event.SNOOZE: (Reason.NOT_DUE, "Waits for its next attempt, which was put off: it is due in "),
    Event.RELEASE: (Reason.NEXT, "Waits as the next"),
    Event.CONFIRM_CANCEL: (Reason.CANCELLED, "It was asked to stop while it ran."),
    Event.RESCUE: (Reason.NEXT, "Waits as the next"),
    Event.ABANDON: (Reason.FAILED, "with worker_lost: 3 workers were lost while they ran it."),
    Event.CANCEL_LOST: (Reason.CANCELLED, "It was asked to stop while it ran."),
    Event.CANCEL: (Reason.CANCELLED, "before it began."),
    Event.REQUEST_CANCEL: (Reason.CANCEL_REQUESTED, f"ago and still runs: attempt 1 on {WHERE}"),
    Event.RESCHEDULE: (Reason.NOT_DUE, "Waits for its time: it is due in 3 h, at "),
    Event.REJECT: (
        Reason.FAILED,
        "before it began, with unknown_type: no worker of the queue default offers the type lost; offered there: echo.",
    ),
    Event.RERUN: (Reason.NEXT, "Waits as the next"),
}


def test_every_event_but_the_last_is_led_to() -> None:
    assert set(AFTER) == set(Event) - {Event.UNDISPATCH, Event.PURGE}


@pytest.mark.parametrize("event", AFTER)
async def test_task_is_explained_after_every_event_of_the_life_cycle(
    event: Event, life: Life, explain: Explain
) -> None:
    task_id = await life.lead(event)

    explanation = await explain(task_id)

    reason, sentence = AFTER[event]
    task = await life.tasks.state(task_id)
    assert explanation.reason is reason
    assert sentence in explanation.sentence
    assert task is not None
    assert (explanation.task_id, explanation.status) == (task_id, task.status)


async def test_task_that_was_purged_is_unknown(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"/api/v1/tasks/{uuid4()}/explain")

    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")


async def test_tasks_ahead_are_those_of_its_queue_priority_and_type_that_are_due_before_it(
    explain: Explain, table: Table
) -> None:
    await table.worker(slots=50, in_flight=50)
    mine = await table.put(due_at=timedelta(seconds=-10))
    for other in ({"queue": "reports"}, {"priority": "HIGH"}, {"type": "other"}, {"due_at": timedelta(seconds=-9)}):
        await table.put(**other)
    await table.put("COMPLETED")
    before = [await table.put(due_at=timedelta(seconds=-11)) for _ in range(3)]

    explanation = await explain(mine)

    assert (explanation.reason, explanation.ahead, explanation.ahead_is_capped) == (Reason.BEHIND_OTHERS, 3, False)
    assert "1 live worker with its type had 0 free slots" in explanation.sentence
    assert sorted([(await explain(one)).ahead for one in before]) == [0, 1, 2], "those due at once stand by their ids"


@pytest.mark.parametrize(("others", "is_capped"), [(0, False), (1, True)])
async def test_tasks_ahead_are_counted_up_to_a_thousand(
    others: int, is_capped: bool, explain: Explain, table: Table
) -> None:
    await table.worker()
    await table.fill(limits.AHEAD_MAX + others)
    mine = await table.put(due_at=timedelta(seconds=-1))

    explanation = await explain(mine)

    assert (explanation.ahead, explanation.ahead_is_capped) == (limits.AHEAD_MAX, is_capped)


@pytest.mark.parametrize(
    ("workers", "reason", "sentence"),
    [
        ([], Reason.NO_WORKER, "no live worker takes tasks of the queue default."),
        ([{"queues": ["reports"]}], Reason.NO_WORKER, "no live worker takes"),
        ([{"expires_at": timedelta(seconds=-1)}], Reason.NO_WORKER, "no live worker takes"),
        ([{"dead_at": timedelta(seconds=-1)}], Reason.NO_WORKER, "no live worker takes"),
        ([{"draining_at": timedelta(seconds=-1)}], Reason.NO_WORKER, "; 1 worker of it drains."),
        (
            [{"types": ["ecko", "mail"]}, {"types": ["echo"], "queues": ["reports"]}],
            Reason.NO_WORKER_OFFERS_TYPE,
            "does not offer the type echo; what is like it: ecko.",
        ),
        ([{"types": []}, {"types": ["mail"]}], Reason.NO_WORKER_OFFERS_TYPE, "none of the 2 live workers"),
        ([{"reaches_broker": False}], Reason.BROKER_DOWN, "The poll takes it from the table"),
        (
            [{"reaches_broker": False}, {"types": ["mail"]}],
            Reason.BROKER_DOWN,
            "no worker that offers its type reaches",
        ),
        ([{"reaches_broker": False}, {}], Reason.NEXT, "2 live workers with its type"),
        ([{"reaches_broker": False, "ticked_at": None, "steady_since": None}], Reason.NEXT, "Waits as the next"),
    ],
)
async def test_due_task_is_explained_by_the_workers_that_there_are(
    workers: list[dict[str, Any]], reason: Reason, sentence: str, explain: Explain, table: Table
) -> None:
    for columns in workers:
        await table.worker(**columns)
    task_id = await table.put()

    explanation = await explain(task_id)

    assert explanation.reason is reason
    assert sentence in explanation.sentence
    assert explanation.similar_types == (["ecko"] if "ecko" in sentence else [])


@pytest.mark.parametrize(
    ("columns", "worker", "reason"),
    [
        ({}, {}, Reason.RUNNING),
        ({"cancel_requested_at": timedelta(minutes=-2)}, {}, Reason.NOT_STOPPING),
        ({"timeout_seconds": 60.0}, {}, Reason.NOT_STOPPING),
        ({}, {"expires_at": timedelta(seconds=22), "lease_seconds": 30}, Reason.RUNNING),
        ({}, {"expires_at": timedelta(seconds=18), "lease_seconds": 30}, Reason.WORKER_SILENT),
        ({}, {"expires_at": timedelta(seconds=-1)}, Reason.LEASE_OVER),
        ({}, {"dead_at": timedelta(seconds=-1)}, Reason.LEASE_OVER),
        ({"worker_id": uuid4()}, {}, Reason.LEASE_OVER),
    ],
)
async def test_running_task_is_explained_by_its_worker(
    columns: dict[str, Any], worker: dict[str, Any], reason: Reason, explain: Explain, table: Table
) -> None:
    worker_id = await table.worker(host="web-1", pid=4711, **worker)
    task_id = await table.running(**{"worker_id": worker_id, **columns})

    explanation = await explain(task_id)

    is_known = "worker_id" not in columns
    assert explanation.reason is reason
    assert (explanation.host, explanation.pid) == (("web-1", 4711) if is_known else (None, None))
    assert explanation.worker_id == columns.get("worker_id", worker_id)
    assert explanation.since is not None


async def test_suspect_is_explained_as_one(explain: Explain, table: Table) -> None:
    await table.worker()
    task_id = await table.put("PENDING", lost_count=2)

    assert (await explain(task_id)).reason is Reason.SUSPECT


async def test_row_that_others_have_spoilt_is_explained_all_the_same(explain: Explain, table: Table) -> None:
    task_id = await table.put("FAILED", error={"no": "error"})

    assert "with unreadable_json" in (await explain(task_id)).sentence


async def test_each_explanation_takes_two_statements_at_most(
    client: httpx2.AsyncClient, parts: ApiParts, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    await table.worker()
    waiting, done = await table.put(), await table.put("COMPLETED")
    fetch, sent = parts.callers.fetch, []

    async def counted(*given: Any) -> Any:
        sent.append(given)
        return await fetch(*given)

    monkeypatch.setattr(parts.callers, "fetch", counted)
    numbers = []
    for task_id in (waiting, done):
        sent.clear()
        await client.get(f"/api/v1/tasks/{task_id}/explain")
        numbers.append(len(sent))

    assert numbers == [2, 1]
