"""A worker counts what it does, and shows what it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from task_runtime.metrics.counts import Metrics
from task_worker import Context, handler

Start = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[Any]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Until = Callable[..., Awaitable[Any]]

KIND = {"queue": "default", "type": "echo", "priority": "MEDIUM"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test", "1")


@pytest.fixture
def value(metrics: Metrics) -> Callable[..., float | None]:
    def one(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"task_service_{name}", labels)

    return one


async def test_an_attempt_is_counted_from_its_claim_to_its_end(
    start: Start, create: Create, ended: Ended, until: Until, metrics: Metrics, value: Callable[..., Any]
) -> None:
    await start(meter=metrics)
    await ended((await create()).id)

    await until(lambda: value("finished_total", **KIND, status="COMPLETED") == 1)
    assert value("attempts_started_total", **KIND) == 1
    assert value("attempts_ended_total", **KIND, event="COMPLETE") == 1
    for statement in ("claim", "record", "dispatch"):  # a task may end before its dispatch is answered
        await until(lambda statement=statement: value("batch_items_sum", statement=statement) == 1)
    assert value("second_runs_total") == 0


async def test_what_the_poll_claims_is_counted(
    start: Start, create: Create, ended: Ended, until: Until, metrics: Metrics, value: Callable[..., Any]
) -> None:
    await start(losing=True, meter=metrics)

    await ended((await create()).id)

    await until(lambda: value("poll_claims_total") == 1)


async def test_an_attempt_after_a_lost_one_is_a_second_run(
    start: Start, create: Create, ended: Ended, table: Any, metrics: Metrics, value: Callable[..., Any]
) -> None:
    task = await create()
    await table.execute("UPDATE tasks SET lost_count = 1, attempt = 1")

    await start(meter=metrics)
    await ended(task.id)

    assert value("second_runs_total") == 1


async def test_writes_of_an_attempt_that_has_lost_its_task_are_counted(
    start: Start, create: Create, table: Any, until: Until, metrics: Metrics, value: Callable[..., Any]
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    @handler("t")
    async def run(context: Context) -> None:
        began.set()
        await go_on.wait()
        context.progress(50)

    await start(run, meter=metrics, lease_seconds=30)
    await create("t")
    await until(began.is_set)
    await table.execute("UPDATE tasks SET lease_token = gen_random_uuid()")
    go_on.set()

    await until(lambda: value("late_writes_refused_total") == 2)


async def test_the_worker_shows_its_slots_its_lease_and_the_queues_that_it_leads(
    start: Start, create: Create, until: Until, metrics: Metrics, value: Callable[..., Any]
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    @handler("t")
    async def run() -> None:
        began.set()
        await go_on.wait()

    await start(run, meter=metrics)
    await create("t")
    await until(began.is_set)

    await until(lambda: value("running", queue="default", priority="MEDIUM") == 1, 30)
    assert value("slots", state="running") == 1
    assert value("slots", state="free") == 9
    assert value("slots", state="held_back") == 0
    assert 0 < value("lease_remaining_seconds") <= value("lease_seconds") == 3
    assert (value("is_leader"), value("broker_up"), value("database_up")) == (1, 1, 1)
    go_on.set()


async def test_a_scrape_does_not_ask_the_database(
    start: Start, metrics: Metrics, value: Callable[..., Any], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(meter=metrics)
    await until(lambda: value("is_leader") == 1)
    asked: list[object] = []
    databases = running.worker._databases

    began = time.monotonic()
    with monkeypatch.context() as patch:  # the event loop runs nothing meanwhile: whoever asks is the scrape
        for database in (databases.pool, databases.poll, databases.slow, databases.counting):
            patch.setattr(database, "fetch", lambda *statement, **_: asked.append(statement))
        for _ in range(20):
            list(metrics.registry.collect())

    assert not asked
    assert time.monotonic() - began < 1


async def test_what_the_leader_does_to_tasks_and_workers_is_counted(
    start: Start, create: Create, ended: Ended, until: Until, metrics: Metrics, value: Callable[..., Any], table: Any
) -> None:
    await start(lease_seconds=1, meter=metrics)
    silent = await table.worker(expires_at=timedelta(minutes=-1), ticked_at=timedelta(minutes=-1))
    lost, again = await table.running(silent, lost_count=2, type="lost"), await table.running(silent, type="echo")
    unknown = await create("unknown")
    for task_id in (lost, again, unknown.id):
        await ended(task_id)

    other = {**KIND, "type": "other"}
    await until(lambda: value("finished_total", **other, status="FAILED") == 2)
    assert value("attempts_ended_total", **other, event="ABANDON") == 1
    assert value("attempts_ended_total", **other, event="REJECT") is None
    assert value("attempts_ended_total", **{**KIND, "type": "echo"}, event="RESCUE") == 1
    assert (value("second_runs_total"), value("workers_lost_total")) == (1, 1)
