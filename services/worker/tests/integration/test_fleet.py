"""Several workers, and the loops of the leader."""

from __future__ import annotations

import asyncio
import itertools
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from task_contracts import Task
from task_store import Claims
from task_worker import handler
from task_worker.leader.purge import Purge

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

WAITS = """
import asyncio
from task_worker import handler

@handler("t")
async def run() -> str:
    await asyncio.sleep(60)
    return "the first"
"""


@pytest.mark.parametrize("is_draining", [False, True])
async def test_tasks_of_a_killed_worker_run_again_within_a_lease_a_sweep_and_two_seconds(
    start: Start,
    create: Create,
    ended: Ended,
    table: Any,
    until: Until,
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]],
    tmp_path: Path,
    *,
    is_draining: bool,
) -> None:
    handlers = tmp_path / "waits.py"
    handlers.write_text(WAITS)
    process = await worker_process(handlers, lease_seconds=1.5)
    task = await create("t")
    await until(lambda: _is(table, task, "IN_PROGRESS"))

    @handler("t")
    async def run() -> str:
        return "the second"

    running = await start(run, lease_seconds=1.5)
    await until(
        lambda: table.fetch(
            "SELECT 1 FROM workers WHERE id = $1 AND steady_since < statement_timestamp() - interval '1.5 seconds'",
            running.id,
        )
    )
    if is_draining:
        await table.execute("UPDATE workers SET draining_at = statement_timestamp() WHERE id <> $1", running.id)
    killed_at = time.monotonic()
    process.send_signal(signal.SIGKILL)
    await process.wait()

    row = await ended(task.id)

    assert time.monotonic() - killed_at < 1.5 + 0.25 + 2 + 3  # for a busy machine; the rest is the promise
    assert (row["result"], row["lost_count"], row["failures"]) == ("the second", 0 if is_draining else 1, 0)
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["RESCUE"]


async def test_a_task_that_has_lost_three_workers_fails(
    start: Start, create: Create, ended: Ended, table: Any, until: Until
) -> None:
    began = asyncio.Event()

    @handler("t")
    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    await start(run, lease_seconds=1)
    task = await create("t")
    for lost_count in (1, 2, 3):
        await began.wait()
        began.clear()
        await table.execute("UPDATE workers SET dead_at = statement_timestamp() WHERE dead_at IS NULL")
        await until(lambda lost_count=lost_count: _has_lost(table, task, lost_count))

    row = await ended(task.id)
    assert (row["status"], row["lost_count"], row["error"]["code"]) == ("FAILED", 3, "worker_lost")
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["RESCUE", "RESCUE", "ABANDON"]


async def test_a_type_that_nobody_offers_is_rejected_after_a_lease_unless_it_was_offered_lately(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    @handler("gone")
    async def gone() -> None: ...

    await (await start(gone)).finish()
    unknown, lately, nobodys = await create("unknown"), await create("gone"), await create("x", queue="unserved")

    await start(lease_seconds=1)

    row = await ended(unknown.id)
    assert (row["status"], row["error"]["code"], row["attempt"]) == ("FAILED", "unknown_type", 0)
    assert row["finished_at"] - row["created_at"] > timedelta(seconds=1)
    assert [await table.status(task.id) for task in (lately, nobodys)] == ["NEW", "NEW"]


async def purge(running: Any, retention: timedelta | None) -> None:
    workers, leadership = running.worker._workers, running.worker._leader._election._leadership
    await Purge(workers, workers, leadership, retention).purge()


async def test_what_ended_long_ago_is_purged_with_the_rows_of_dead_workers(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    running = await start()
    old, young, failed = [await create(), await create(), await create("echo")]
    for task in (old, young, failed):
        await ended(task.id)
    await table.execute(
        "UPDATE tasks SET created_at = created_at - interval '40 days', started_at = started_at - interval '40 days',"
        " finished_at = finished_at - interval '40 days' WHERE id = ANY($1)",
        [old.id, failed.id],
    )
    await table.execute(
        "INSERT INTO workers (id, queues, types, started_at, expires_at, reaches_broker, dead_at) VALUES"
        " (gen_random_uuid(), '{}', '{}', now(), now(), false, now() - interval '8 days'),"
        " (gen_random_uuid(), '{}', '{}', now(), now(), false, now() - interval '1 day')"
    )

    await purge(running, timedelta(days=30))

    assert [row["id"] for row in await table.fetch("SELECT id FROM tasks")] == [young.id]
    assert len(await table.fetch("SELECT id FROM workers")) == 2


async def test_nothing_is_purged_where_tasks_are_kept_for_ever(
    start: Start, create: Create, ended: Ended, table: Any
) -> None:
    running = await start(retention_days=0)
    task = await create()
    await ended(task.id)
    await table.execute(
        "UPDATE tasks SET created_at = created_at - interval '4000 days', started_at = created_at, finished_at = now()"
    )

    await purge(running, None)

    assert await table.status(task.id) == "COMPLETED"


@pytest.mark.alone
async def test_scheduled_tasks_start_at_their_time(start: Start, create: Create, ended: Ended) -> None:
    await start()
    first = datetime.now(UTC) + timedelta(seconds=1)
    scheduled = [await create(run_at=first + timedelta(seconds=0.25 * n)) for n in range(5)]

    late = []
    for task in scheduled:
        row = await ended(task.id)
        late.append((row["started_at"] - row["run_at"]).total_seconds())

    assert min(late) >= 0
    assert statistics.median(late) < 0.2


async def test_there_is_one_leader_and_another_when_it_stops(start: Start, until: Until) -> None:
    workers = [await start(lease_seconds=1.5) for _ in range(3)]

    def leaders() -> list[int]:
        live = [n for n, one in enumerate(workers) if not one.task.done()]
        return [n for n in live if workers[n].worker._leader._election._leadership.is_leading]

    await until(lambda: leaders() == [0])
    await workers[0].finish()

    await until(lambda: leaders() in ([1], [2]))


async def test_two_workers_share_the_work(start: Start, create: Create, table: Any, until: Until) -> None:
    @handler("t")
    async def run() -> None:
        await asyncio.sleep(0.02)

    workers = [await start(run, concurrency=5) for _ in range(2)]
    await asyncio.gather(*(create("t") for _ in range(100)))
    await until(lambda: _count(table, "COMPLETED", 100))

    rows = await table.fetch("SELECT worker_id, attempt FROM tasks")
    done = [sum(row["worker_id"] == worker.id for row in rows) for worker in workers]
    assert sum(done) == 100
    assert min(done) >= 20
    assert {row["attempt"] for row in rows} == {1}


class TestPriorities:
    """P5: HIGH is picked before LOW, and LOW always keeps its stated share."""

    async def test_a_flood_of_high_leaves_low_its_share(self, start: Start, create: Create, until: Until) -> None:
        order: list[str] = []

        @handler("t")
        async def run(payload: dict[str, str]) -> None:
            order.append(payload["priority"])
            await asyncio.sleep(0.001)

        for priority, count in (("HIGH", 600), ("LOW", 100)):
            await asyncio.gather(
                *(create("t", priority=priority, payload={"priority": priority}) for _ in range(count))
            )
        await start(run, concurrency=4)
        await until(lambda: len(order) == 700)

        low_at = [0, *(at for at, priority in enumerate(order[:600]) if priority == "LOW")]
        longest = max(later - earlier for earlier, later in itertools.pairwise(low_at))
        assert 50 <= order[:600].count("LOW") <= 100  # 6 : 1, so 86
        assert longest <= 10 + 3 * 4  # the sum of the weights, and what is claimed at once and starts in any order

    @pytest.mark.alone
    async def test_a_flood_of_low_does_not_keep_high_waiting(
        self, start: Start, create: Create, ended: Ended, table: Any, until: Until
    ) -> None:
        @handler("t")
        async def run() -> None:
            await asyncio.sleep(0.01)

        await asyncio.gather(*(create("t", priority="LOW") for _ in range(2_000)))
        await start(run, concurrency=10)
        await until(lambda: _count_more(table, "COMPLETED", 100))

        row = await ended((await create("t", priority="HIGH")).id)

        assert (row["started_at"] - row["created_at"]).total_seconds() < 0.5
        assert await table.count("NEW", "PENDING") > 500

    async def test_high_has_the_next_slot_of_a_worker_that_had_none_for_long(
        self, start: Start, create: Create, table: Any, until: Until
    ) -> None:
        order: list[str] = []

        @handler("t")
        async def run(payload: dict[str, str]) -> None:
            order.append(payload["priority"])
            await asyncio.sleep(1.6)

        for _ in range(12):
            await create("t", priority="LOW", payload={"priority": "LOW"})
        await table.execute(  # a backlog that is old enough for the poll
            "UPDATE tasks SET due_at = due_at - interval '1 min', created_at = created_at - interval '1 min'"
        )
        running = await start(run, concurrency=2)
        await until(lambda: len(order) == 2)
        await until(lambda: not running.worker._claim_loop._buffer._subscriptions)
        await create("t", priority="HIGH", payload={"priority": "HIGH"})

        await until(lambda: len(order) == 4)

        assert "HIGH" in order[2:4]


async def test_a_loop_that_dies_is_started_again(
    start: Start, create: Create, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, failures = Claims.by_id, []

    async def broken(self: Claims, *values: Any, **named: Any) -> Any:
        if not failures:
            failures.append(1)
            raise ZeroDivisionError
        return await claim(self, *values, **named)

    monkeypatch.setattr(Claims, "by_id", broken)
    running = await start()
    tasks = [await create() for _ in range(3)]

    assert [(await ended(task.id))["status"] for task in tasks] == ["COMPLETED"] * 3
    assert failures
    assert running.polled == 0  # what had been delivered was given back


async def _is(table: Any, task: Task, status: str) -> bool:
    return bool(await table.status(task.id) == status)


async def _has_lost(table: Any, task: Task, count: int) -> bool:
    return bool((await table.task(task.id))["lost_count"] == count)


async def _count(table: Any, status: str, count: int) -> bool:
    return bool(await table.count(status) == count)


async def _count_more(table: Any, status: str, count: int) -> bool:
    return bool(await table.count(status) > count)
