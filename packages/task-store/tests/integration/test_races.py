"""Statements at the same moment on separate connections: one wins, none deadlocks, no answer is out of date."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_contracts import Priority, Progress, SortOrder, TaskError, TaskStatus, TaskUpdate
from task_contracts.lifecycle import CANCELLATION, Event
from task_store import (
    Attempts,
    Claim,
    Claims,
    Database,
    Dispatches,
    DispatchQuota,
    Ended,
    Ending,
    HeldRow,
    LiveOffers,
    Offer,
    TaskFilter,
    Tasks,
    Workers,
    new_lease_token,
)
from task_store.low_water import LowWater
from task_store.scan_pace import ScanPace

ROUNDS = 200
LEASE = timedelta(seconds=30)
OVERDUE = timedelta(seconds=2)
Poll = Callable[..., Awaitable[Any]]
A_DAY = timedelta(days=1)
ERROR = TaskError(code="failed", message="no")
SOONER = TaskUpdate(priority=Priority.HIGH, run_at=None)

WaitingForLock = Callable[..., Awaitable[None]]


@pytest.fixture
def other_claims(other_database: Database, offer: Offer, weights: Mapping[Priority, int]) -> Claims:
    """The store as another worker's process has it."""
    claims = Claims(other_database, other_database, other_database, offer, weights)
    claims._low_water = LowWater(ScanPace(cheap_seconds=math.inf))  # as the fixture `claims`
    return claims


async def at_once(one: Awaitable[Any], other: Awaitable[Any]) -> tuple[Any, Any]:
    """Run both at once, in a random order."""
    if random.random() < 0.5:
        first, second = await asyncio.gather(one, other)
    else:
        second, first = await asyncio.gather(other, one)
    return first, second


async def hold(table: Any, worker: UUID, count: int) -> list[HeldRow]:
    """Put tasks that a worker holds."""
    tokens = {await table.running(worker, lease_token=token): token for token in (uuid4() for _ in range(count))}
    return [HeldRow(task_id, token, is_cancel_requested=False) for task_id, token in tokens.items()]


async def test_purge_and_rerun_of_one_task_have_one_winner(
    tasks: Tasks, other_database: Database, table: Any, purge: Any
) -> None:
    workers = Workers(other_database)
    for _ in range(ROUNDS):
        task_id = await table.put("FAILED", created_at=-3 * A_DAY, finished_at=-2 * A_DAY)

        purged, rerun = await at_once(purge(workers, A_DAY), tasks.rerun(task_id))

        assert (purged, rerun and rerun.event) in {(1, None), (0, Event.RERUN)}
        assert await table.status(task_id) == ("PENDING" if rerun else None)


async def test_sweep_and_record_of_one_attempt_have_one_winner(
    attempts: Attempts, other_database: Database, table: Any
) -> None:
    workers, dead = Workers(other_database), await table.dead_worker()
    for held in await hold(table, await table.worker(), ROUNDS):
        await table.set("tasks", held.id, worker_id=dead)

        recorded, swept = await at_once(attempts.record(Ending.complete(held, "1")), sweep(workers))

        assert (recorded is None) == (len(swept) == 1)

    counted = await table.fetch(
        "SELECT status, (SELECT count(*) FROM task_attempts WHERE task_id = id) AS kept FROM tasks"
    )
    assert {(row["status"], row["kept"]) for row in counted} <= {("COMPLETED", 0), ("PENDING", 1)}


async def sweep(workers: Workers) -> list[Ended]:
    return await workers.sweep(await workers.dead_holders(), rows=10)


@pytest.mark.parametrize("event", [Event.COMPLETE, Event.RELEASE, Event.FAIL])
async def test_cancel_and_the_end_of_an_attempt_agree_on_what_happened(
    event: Event, attempts: Attempts, other_database: Database, table: Any
) -> None:
    tasks, seen = Tasks(other_database), Counter[tuple[Any, ...]]()
    ending = {
        Event.COMPLETE: lambda held: Ending.complete(held, "1"),
        Event.RELEASE: Ending.release,
        Event.FAIL: lambda held: Ending.fail(held, ERROR),
    }[event]
    for held in await hold(table, await table.worker(), ROUNDS):
        cancelled, ended = await at_once(tasks.cancel(held.id), attempts.record(ending(held)))

        seen[cancelled.event, cancelled.task.status, ended.event, await table.status(held.id)] += 1

    asked = (Event.REQUEST_CANCEL, TaskStatus.IN_PROGRESS)
    assert (
        seen.keys()
        <= {
            Event.COMPLETE: {
                (*asked, Event.COMPLETE, "COMPLETED"),
                (None, TaskStatus.COMPLETED, Event.COMPLETE, "COMPLETED"),
            },
            Event.RELEASE: {
                (*asked, Event.CONFIRM_CANCEL, "CANCELLED"),
                (Event.CANCEL, TaskStatus.CANCELLED, Event.RELEASE, "CANCELLED"),
            },
            Event.FAIL: {
                (*asked, Event.CONFIRM_CANCEL, "CANCELLED"),
                (None, TaskStatus.FAILED, Event.FAIL, "FAILED"),
            },
        }[event]
    )


async def test_claims_of_the_same_ids_take_each_once_and_all_of_them(
    claims: Claims, other_claims: Claims, table: Any
) -> None:
    me, other = await table.worker(), await table.worker()
    for _ in range(ROUNDS // 10):
        ids = await table.fill(20)

        mine, theirs = await at_once(
            claims.by_id(me, ids, new_lease_token()),
            other_claims.by_id(other, ids[::-1], new_lease_token()),
        )

        assert Counter(claim.id for claim in [*mine.claims, *theirs.claims]) == Counter(ids)
        rows = await table.fetch("SELECT id, worker_id FROM tasks WHERE id = ANY($1)", ids)
        owners = {**{claim.id: me for claim in mine.claims}, **{claim.id: other for claim in theirs.claims}}
        assert {row["id"]: row["worker_id"] for row in rows} == owners


async def test_polls_that_run_at_once_share_what_there_is(
    claims: Claims, other_claims: Claims, table: Any, poll: Poll
) -> None:
    me, other = await table.worker(), await table.worker()
    for _ in range(ROUNDS // 10):
        ids = [task_id for priority in Priority for task_id in await table.fill(7, priority=priority)]

        mine, theirs = await at_once(poll(claims, me, 12), poll(other_claims, other, 12))

        assert Counter(claim.id for claim in [*mine, *theirs]) == Counter(ids)


async def test_suspects_that_are_asked_for_at_once_go_to_one_worker_each(
    claims: Claims, other_claims: Claims, table: Any, claim_suspect: Poll
) -> None:
    for _ in range(ROUNDS // 10):
        me, other = await table.worker(), await table.worker()
        ids = {await table.put(lost_count=2) for _ in range(2)}

        mine, theirs = await at_once(
            claim_suspect(claims, me),
            claim_suspect(other_claims, other),
        )

        assert {claim.id for claim in (*mine, *theirs)} == ids


async def test_row_that_somebody_holds_is_skipped_by_all_that_pick(
    claims: Claims, workers: Workers, table: Any, connect: Any, poll: Poll, claim_suspect: Poll
) -> None:
    me, dead, other = await table.worker(), await table.dead_worker(), await connect()
    waiting, suspect, lost = await table.put(), await table.put(lost_count=2), await table.running(dead)
    old = await table.put("FAILED", created_at=-3 * A_DAY, finished_at=-2 * A_DAY)

    async with other.transaction():
        await other.execute("SELECT 1 FROM tasks FOR UPDATE")
        by_id = (await claims.by_id(me, [waiting, suspect], new_lease_token())).claims
        by_poll = await poll(claims, me, 5)
        suspects = await claim_suspect(claims, me)
        swept, purged = await workers.sweep(await workers.dead_holders(), rows=5), await workers.purge(A_DAY, [old])

    assert (by_id, by_poll, suspects, swept, purged) == ([], [], [], [], 0)
    assert [await table.status(task_id) for task_id in (waiting, suspect, lost, old)] == [
        "NEW",
        "NEW",
        "IN_PROGRESS",
        "FAILED",
    ]


async def test_record_waits_for_its_row_and_heeds_what_happened_meanwhile(
    attempts: Attempts, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    (held,) = await hold(table, await table.worker(), 1)
    other = await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("UPDATE tasks SET cancel_requested_at = now() WHERE id = $1", held.id)
        recording = group.create_task(attempts.record(Ending.fail(held, ERROR)))
        await waiting_for_lock()

    assert recording.result().event is Event.CONFIRM_CANCEL
    assert await table.status(held.id) == "CANCELLED"


async def test_record_that_waited_while_its_lease_was_lost_changes_nothing(
    attempts: Attempts, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    (held,) = await hold(table, await table.worker(), 1)
    other = await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("UPDATE tasks SET lease_token = gen_random_uuid() WHERE id = $1", held.id)
        recording = group.create_task(attempts.record(Ending.complete(held, "1")))
        reporting = group.create_task(attempts.report_progress(held.id, held.lease_token, Progress(percent=50)))
        keeping = group.create_task(attempts.store_checkpoint(held, '"late"'))
        await waiting_for_lock(3)

    row = await table.task(held.id)
    assert (recording.result(), reporting.result(), keeping.result()) == (None, False, False)
    assert (row["status"], row["progress"], row["checkpoint"], row["version"]) == ("IN_PROGRESS", None, None, 1)


@pytest.mark.parametrize(
    ("change", "event", "status"),
    [
        (
            "status = 'COMPLETED', result = '7', error = NULL, finished_at = now(), version = version + 1",
            None,
            TaskStatus.COMPLETED,
        ),
        ("status = 'PENDING', due_at = now(), version = version + 1", Event.CANCEL, TaskStatus.CANCELLED),
        ("progress = '{\"percent\": 40}', version = version + 1", Event.REQUEST_CANCEL, TaskStatus.IN_PROGRESS),
    ],
    ids=["completed", "released", "progress"],
)
async def test_answer_to_delete_is_the_row_after_the_wait_never_a_stale_one(
    change: str,
    event: Event | None,
    status: TaskStatus,
    tasks: Tasks,
    table: Any,
    connect: Any,
    waiting_for_lock: WaitingForLock,
) -> None:
    task_id = await table.running(await table.worker())
    other = await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute(f"UPDATE tasks SET {change} WHERE id = $1", task_id)
        cancelling = group.create_task(tasks.cancel(task_id))
        await waiting_for_lock()

    answer = cancelling.result()
    assert (answer.event, answer.task.status) == (event, status)
    assert answer.task == await tasks.get(task_id)
    assert answer.task.version == (2 if event is None else 3)


async def test_delete_that_waited_for_a_claim_asks_the_running_task_to_stop(
    tasks: Tasks, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    task_id, worker_id = await table.put(TaskStatus.PENDING), await table.worker()
    other = await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute(
            "UPDATE tasks SET status = 'IN_PROGRESS', attempt = 1, started_at = now(), worker_id = $2,"
            " lease_token = $2, version = version + 1 WHERE id = $1",
            task_id,
            worker_id,
        )
        cancelling = group.create_task(tasks.cancel(task_id))
        await waiting_for_lock()

    answer = cancelling.result()
    assert (answer.event, answer.task.status) == (Event.REQUEST_CANCEL, TaskStatus.IN_PROGRESS)
    assert answer.task.cancel_requested_at is not None


async def test_reschedule_that_waited_for_another_heeds_the_version_that_it_then_finds(
    tasks: Tasks, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    task_id, other = await table.put(priority="LOW"), await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("UPDATE tasks SET priority = 'MEDIUM', version = 2 WHERE id = $1", task_id)
        stale = group.create_task(tasks.reschedule(task_id, SOONER, versions=[1]))
        await waiting_for_lock()

    assert (stale.result().event, stale.result().task.version) == (None, 2)
    assert (await table.task(task_id))["priority"] == "MEDIUM"


async def test_delete_that_waited_for_a_purge_finds_no_task(
    tasks: Tasks, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    task_id = await table.put("FAILED")
    other = await connect()

    async with asyncio.TaskGroup() as group, other.transaction():
        await other.execute("DELETE FROM tasks WHERE id = $1", task_id)
        cancelling = group.create_task(tasks.cancel(task_id))
        rerunning = group.create_task(tasks.rerun(task_id))
        await waiting_for_lock(2)

    assert (cancelling.result(), rerunning.result()) == (None, None)


SLOW_CLAIM = """
CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
CREATE TRIGGER slow_claim BEFORE UPDATE ON tasks FOR EACH ROW
WHEN (NEW.status = 'IN_PROGRESS' AND OLD.status <> 'IN_PROGRESS') EXECUTE FUNCTION wait_for_test();
"""


async def test_claim_that_commits_after_its_worker_was_declared_dead_is_swept_on_the_next_tick(
    claims: Claims, workers: Workers, table: Any, connect: Any, waiting_for_lock: WaitingForLock
) -> None:
    leader, me, other = await table.worker(), await table.worker(), await connect()
    task_id = await table.put()
    await other.execute(SLOW_CLAIM)
    try:
        async with asyncio.TaskGroup() as group, other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock(1)")
            claiming = group.create_task(claims.by_id(me, [task_id], new_lease_token()))
            await waiting_for_lock()  # it has seen that its worker is alive
            await table.set("workers", me, expires_at=timedelta(seconds=-1))
            lost = await workers.declare_dead(leader, LEASE)
            this_tick = await workers.sweep(await workers.dead_holders(), rows=10)

        next_tick = await workers.sweep(await workers.dead_holders(), rows=10)
    finally:
        await other.execute("DROP TRIGGER slow_claim ON tasks; DROP FUNCTION wait_for_test()")

    assert ([one.id for one in lost], this_tick) == ([me], [])
    assert [claim.id for claim in claiming.result().claims] == [task_id]
    assert [(ended.id, ended.event) for ended in next_tick] == [(task_id, Event.RESCUE)]


@dataclass
class Storm:
    """Workers, leaders and callers at once on a few tasks."""

    ids: list[UUID]
    offer: Offer
    weights: Mapping[Priority, int]
    turns: int = 60

    async def work(self, worker: UUID, store: Database) -> None:
        attempts, claims = Attempts(store), Claims(store, store, store, self.offer, self.weights)
        ways = [
            lambda claim: Ending.complete(claim, "1"),
            lambda claim: Ending.retry(claim, ERROR, after=timedelta()),
            Ending.release,
        ]
        for turn in range(self.turns):
            claimed = await self._claim(claims, worker, by_poll=turn % 3 == 0)
            await asyncio.gather(
                *(attempts.report_progress(c.id, c.lease_token, Progress(percent=1)) for c in claimed),
                *(attempts.store_checkpoint(c, "1") for c in claimed),
                *(attempts.record(random.choice(ways)(c)) for c in claimed),
            )

    async def die(self, workers: list[UUID], store: Database) -> None:
        claims = Claims(store, store, store, self.offer, self.weights)
        for worker in workers:
            await self._claim(claims, worker, by_poll=False)
            await Workers(store).retire(worker)

    async def call(self, store: Database) -> None:
        tasks = Tasks(store)
        for _ in range(3 * self.turns):
            act = random.choice([tasks.cancel, tasks.rerun, tasks.rerun, partial(tasks.reschedule, update=SOONER)])
            await act(random.choice(self.ids))
            if random.random() < 0.2:
                events, order = random.choice([CANCELLATION, (Event.RERUN,)]), random.choice(list(SortOrder))
                await tasks.change_many(events, TaskFilter(order=order), items=random.choice([3, 30]))

    async def lead(self, leader: UUID, store: Database) -> None:
        workers, dispatches = Workers(store), Dispatches(store, store)
        offers, quotas = (
            LiveOffers({"default": ("echo",)}, {"default": 3}),
            [DispatchQuota("default", Priority.MEDIUM, 5)],
        )
        for _ in range(self.turns):
            await dispatches.mark(quotas, offers)
            await workers.declare_dead(leader, LEASE)
            await workers.sweep(await workers.dead_holders(), rows=10)
            await workers.reject(LEASE, rows=10)
            await workers.purge(A_DAY, [old.id for old in await workers.old_tasks(A_DAY, rows=10)])

    async def _claim(self, claims: Claims, worker: UUID, *, by_poll: bool) -> list[Claim]:
        token = new_lease_token()
        if by_poll:
            ids = await claims.find_overdue(slots=5, overdue=timedelta())
            return (await claims.by_id(worker, ids, token, slots=5)).claims
        return (await claims.by_id(worker, random.sample(self.ids, 10), token)).claims


async def test_storm_of_everything_meets_no_deadlock_and_leaves_no_task_behind(
    database: Database, other_database: Database, offer: Offer, table: Any, weights: Mapping[Priority, int]
) -> None:
    """An error of any statement fails it."""
    storm = Storm(await table.fill(30), offer, weights)
    leader, one, other = [await table.worker() for _ in range(3)]
    doomed = [await table.worker() for _ in range(40)]

    async with asyncio.TaskGroup() as group:
        group.create_task(storm.work(one, database))
        group.create_task(storm.work(other, other_database))
        group.create_task(storm.die(doomed, other_database))
        for store in (database, other_database):
            group.create_task(storm.call(store))
            group.create_task(storm.lead(leader, store))

    workers = Workers(database)
    await workers.sweep(await workers.dead_holders(), rows=100)
    rows = await table.fetch(
        "SELECT status, attempt, (SELECT count(*) FROM task_attempts WHERE task_id = id) AS kept FROM tasks"
    )
    assert len(rows) == len(storm.ids)
    assert "IN_PROGRESS" not in {row["status"] for row in rows}
    assert all(row["kept"] <= row["attempt"] for row in rows)
