"""A payload that no live worker takes is refused at once; everything else is the worker's to judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx2
import pytest

from task_api import payload_check
from task_api.offered_types import tell_types
from task_api.offers import Offers
from task_api.parts import ApiParts
from task_api.payload_check import PayloadCheck
from task_api.problems import ProblemError
from task_contracts import Priority
from task_contracts.lifecycle import Event
from task_contracts.testing import a_create
from task_runtime.metrics.counts import Metrics
from task_store import Activities, ActivityCounts, LiveWorkers, NewTask, Offer, Workers, new_worker_id

TASKS = "/api/v1/tasks"
LEASE = timedelta(minutes=5)
OLD = {"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]}
CLOSED = {**OLD, "additionalProperties": False}
NEW = {
    "type": "object",
    "properties": {"month": {}, "year": {}},
    "required": ["month", "year"],
    "additionalProperties": False,
}


class Fleet:
    """Workers that come and go."""

    def __init__(self, parts: ApiParts) -> None:
        self._workers = Workers(parts.database)

    async def start(self, schema: dict[str, Any] | None, *, queue: str = "default", is_written: bool = True) -> UUID:
        """Start a worker that offers `report` with this schema; `is_written`: it has written the schema too."""
        offer, worker_id = Offer((queue,), {"report": schema}), new_worker_id()
        await self._workers.register(worker_id, offer, LEASE)
        if is_written:
            await self._workers.offer(offer)
        return worker_id

    async def stop(self, worker_id: UUID) -> None:
        await self._workers.retire(worker_id)

    async def drain(self, worker_id: UUID) -> None:
        await self._workers.drain(worker_id)


@pytest.fixture
def fleet(parts: ApiParts) -> Fleet:
    return Fleet(parts)


@pytest.fixture
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for a second: what a refusal is based on is read anew each time."""
    monkeypatch.setattr(payload_check, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(payload_check, "STALE_SECONDS", 0.0)


def body(payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "a report", "type": "report", "payload": payload, **fields}


def errors(answer: httpx2.Response) -> list[tuple[str, str]]:
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.text
    return [(error["field"], error["message"]) for error in answer.json()["errors"]]


async def count(client: httpx2.AsyncClient) -> int:
    return len((await client.get(TASKS)).json()["items"])


async def test_missing_field_is_named_and_nothing_is_stored(client: httpx2.AsyncClient, fleet: Fleet) -> None:
    await fleet.start(OLD)

    answer = await client.post(TASKS, json=body({"day": 1}))

    assert errors(answer) == [("body.payload.month", "Field required by the type report")]
    assert answer.json()["detail"] == "one field is wrong: body.payload.month"
    assert await count(client) == 0


async def test_forbidden_field_is_named(client: httpx2.AsyncClient, fleet: Fleet) -> None:
    await fleet.start(CLOSED)

    answer = await client.post(TASKS, json=body({"month": "May", "day": 1}))

    assert errors(answer) == [("body.payload.day", "The type report takes no such field")]


async def test_items_of_a_batch_are_named_by_their_places_and_none_is_stored(
    client: httpx2.AsyncClient, fleet: Fleet
) -> None:
    await fleet.start(CLOSED)
    tasks = [body({"month": "May"}) for _ in range(30)]
    tasks[17] = body({})
    tasks[19] = body({"month": 1, "x": 2})

    answer = await client.post(f"{TASKS}/batch", json={"tasks": tasks})

    assert [field for field, _ in errors(answer)] == ["body.tasks.17.payload.month", "body.tasks.19.payload.x"]
    assert await count(client) == 0


@pytest.mark.parametrize(
    ("payload", "schema", "fields"),
    [
        ({"month": 7}, OLD, {}),
        ({"month": None, "more": []}, OLD, {}),
        ({}, None, {}),
        ({}, {**OLD, "x-lenient": True}, {}),
        ({}, OLD, {"type": "echo"}),
        ({}, OLD, {"queue": "reports"}),
        ({}, {"anyOf": [OLD, CLOSED]}, {}),
    ],
    ids=["another kind of value", "more fields", "any payload", "lenient", "another type", "another queue", "union"],
)
async def test_everything_else_is_left_to_the_worker(
    payload: dict[str, Any], schema: Any, fields: dict[str, str], client: httpx2.AsyncClient, fleet: Fleet
) -> None:
    await fleet.start(schema)

    assert (await client.post(TASKS, json=body(payload, **fields))).status_code == 201


async def test_type_of_a_task_that_names_none_counts_too(
    open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]], open_client: Any, database_url: str
) -> None:
    async with open_parts(database_url, default_type="report") as parts, open_client(parts) as client:
        await Fleet(parts).start(OLD)

        answer = await client.post(TASKS, json={"name": "a report"})

    assert errors(answer) == [("body.payload.month", "Field required by the type report")]


@pytest.mark.usefixtures("always_fresh")
async def test_where_no_worker_lives_that_takes_tasks_all_is_accepted(client: httpx2.AsyncClient, fleet: Fleet) -> None:
    before = await client.post(TASKS, json=body({}))
    first, second = await fleet.start(OLD), await fleet.start(OLD)
    meanwhile = await client.post(TASKS, json=body({}))
    await fleet.stop(first)
    one_left = await client.post(TASKS, json=body({}))
    await fleet.drain(second)
    after = await client.post(TASKS, json=body({}))

    assert [one.status_code for one in (before, meanwhile, one_left, after)] == [201, 422, 422, 201]


@pytest.mark.usefixtures("always_fresh")
@pytest.mark.parametrize(
    ("payload", "is_taken"),
    [
        ({"month": 1}, True),
        ({"month": 1, "year": 2}, True),
        ({}, False),
        ({"year": 2}, False),
        ({"month": 1, "day": 2}, False),
    ],
)
async def test_payload_that_one_of_several_versions_takes_is_accepted(
    payload: dict[str, Any], is_taken: bool, client: httpx2.AsyncClient, fleet: Fleet
) -> None:
    await fleet.start(CLOSED)
    await fleet.start(NEW)

    assert (await client.post(TASKS, json=body(payload))).status_code == (201 if is_taken else 422)


async def test_version_that_lives_and_whose_schema_is_not_written_yet_may_take_anything(
    client: httpx2.AsyncClient, fleet: Fleet
) -> None:
    await fleet.start(NEW)
    await fleet.start(OLD, is_written=False)

    assert (await client.post(TASKS, json=body({}))).status_code == 201


async def test_schema_of_workers_that_are_gone_refuses_nothing(client: httpx2.AsyncClient, fleet: Fleet) -> None:
    await fleet.stop(await fleet.start(NEW))
    await fleet.start(OLD)

    assert (await client.post(TASKS, json=body({"month": 1}))).status_code == 201


async def test_offers_are_read_anew_before_a_refusal(
    client: httpx2.AsyncClient, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_check, "STALE_SECONDS", 3600.0)
    monkeypatch.setattr(payload_check, "_FRESH_SECONDS", 0.0)
    old = await fleet.start(NEW)
    refused = await client.post(TASKS, json=body({"month": 1}))
    await fleet.start(OLD)
    await fleet.stop(old)

    accepted = await client.post(TASKS, json=body({"month": 1}))

    assert (refused.status_code, accepted.status_code) == (422, 201)


@pytest.mark.parametrize("path", ["", "/batch"])
async def test_repeat_with_a_known_key_is_no_new_task(
    path: str, client: httpx2.AsyncClient, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_check, "STALE_SECONDS", 0.0)
    sent = body({}) if not path else {"tasks": [body({}), body({})]}
    known, new = {"Idempotency-Key": "order-42"}, {"Idempotency-Key": "order-43"}
    first = await client.post(TASKS + path, json=sent, headers=known)
    await fleet.start(OLD)

    repeat = await client.post(TASKS + path, json=sent, headers=known)
    another = await client.post(TASKS + path, json=sent, headers=new)
    other_body = await client.post(TASKS, json=body({"x": 1}), headers=known)

    assert (first.status_code, repeat.status_code) == (201, 201)
    assert repeat.headers["Idempotency-Replayed"] == "true"
    assert repeat.json() == first.json()
    assert errors(another)
    assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_mismatch")


async def test_hostile_fields_are_cut_counted_and_never_repeat_a_value(
    client: httpx2.AsyncClient, fleet: Fleet
) -> None:
    await fleet.start(CLOSED)
    payload = {f"\x1b[31m{n}" + "x" * 200: "secret" for n in range(4_000)}

    answer = await client.post(TASKS, json=body(payload))

    found = errors(answer)
    assert len(found) == 20
    assert answer.json()["detail"].startswith("4001 fields are wrong: body.payload.month, body.payload.")
    assert "secret" not in answer.text
    assert "\x1b" not in answer.text
    assert len(answer.content) < 10_000


class CountingReads(LiveWorkers):
    """Counts the reads of what is on offer."""

    reads = 0

    async def versions(self) -> Any:
        self.reads += 1
        return await super().versions()


@pytest.fixture
def counted(parts: ApiParts) -> tuple[PayloadCheck, CountingReads]:
    live = CountingReads(parts.callers)
    return PayloadCheck(Offers(live), parts.tasks, 1.5), live


def news(payload: dict[str, Any], number: int = 1) -> Sequence[NewTask]:
    return [NewTask(a_create(payload=payload), "report")] * number


async def test_offers_are_read_once_for_many_tasks_at_once_and_no_query_is_made_for_each(
    counted: tuple[PayloadCheck, CountingReads], fleet: Fleet
) -> None:
    await fleet.start(OLD)
    check, live = counted

    await asyncio.gather(*(check.check(news({"month": 1}), "body", None) for _ in range(200)))

    assert live.reads == 1


async def test_activity_and_metrics_use_what_was_read_for_the_check(
    counted: tuple[PayloadCheck, CountingReads], fleet: Fleet, parts: ApiParts
) -> None:
    await fleet.start(OLD)
    check, live = counted
    await check.check(news({"month": 1}), "body", None)
    counts, metrics = ActivityCounts(lambda: 0.0), Metrics("test", "1")
    counts.happened(("default", Priority.LOW, "report"), Event.CREATE, 1)

    await Activities(parts.callers, check._offers.live_types).add(counts)
    await tell_types(metrics, check._offers)

    assert (live.reads, counts.offered, check._offers.types) == (1, {"report"}, {"report"})


async def test_refusals_read_the_offers_once_a_second_at_most(
    counted: tuple[PayloadCheck, CountingReads], fleet: Fleet
) -> None:
    await fleet.start(OLD)
    check, live = counted
    now = 0.0
    check._offers = Offers(live, clock=lambda: now)

    for moment in (0.0, 0.5, 0.9, 1.1, 1.2, 2.0, 2.3):
        now = moment
        with pytest.raises(ProblemError):
            await check.check(news({}), "body", None)

    assert live.reads == 3  # at 0, 1.1 and 2.3


async def test_check_costs_microseconds_a_task(counted: tuple[PayloadCheck, CountingReads], fleet: Fleet) -> None:
    await fleet.start(CLOSED)
    check, _ = counted
    many = news({"month": 1}, 1_000)
    await check.check(many, "body.tasks.{}", None)

    times = []
    for _ in range(10):
        start = perf_counter()
        await check.check(many, "body.tasks.{}", None)
        times.append(perf_counter() - start)

    assert min(times) / len(many) < 20e-6


async def test_without_the_database_nothing_is_refused_and_nothing_waits_long(
    open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]],
) -> None:
    async with open_parts("postgresql://nobody@127.0.0.1:1/none") as parts:
        check = PayloadCheck(parts.offers, parts.tasks, 1.5)

        start = perf_counter()
        await check.check(news({}), "body", None)

        assert perf_counter() - start < 1
