"""Leases and elections: who may act, who leads, who is declared dead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_store import HeldRow, LostWorker, Offer, UnstorableValuesError, WorkerProcess, Workers, new_worker_id

LEASE = timedelta(seconds=30)
INTERVAL = timedelta(seconds=5)


@pytest.fixture
def elect(workers: Workers):
    async def elect(worker_id: UUID, *, reaches_broker: bool = True) -> UUID | None:
        return await workers.elect_leader(worker_id, reaches_broker=reaches_broker, interval=INTERVAL, lease=LEASE)

    return elect


@pytest.fixture
def worker_row(table: Any):
    async def read(worker_id: UUID) -> dict[str, Any]:
        (row,) = await table.fetch("SELECT * FROM workers WHERE id = $1", worker_id)
        return row

    return read


async def test_registered_worker_has_a_lease_from_now(workers: Workers, worker_row: Any, table: Any) -> None:
    me, start = new_worker_id(), await table.now()

    offer = Offer(("default", "reports"), {"b": None, "a": {"type": "object"}})
    await workers.register(me, offer, LEASE, WorkerProcess("web-1", 4711, "0.1.0", 50))

    row, end = await worker_row(me), await table.now()
    assert (row["queues"], row["types"]) == (["default", "reports"], ["a", "b"])
    assert row["schema_hashes"] == [offer.schema_hashes[0], ""]
    assert (row["host"], row["pid"], row["version"], row["slots"]) == ("web-1", 4711, "0.1.0", 50)
    assert (row["in_flight"], row["lease_seconds"]) == (0, 30.0)
    assert start <= row["started_at"] <= end
    assert row["expires_at"] == row["started_at"] + LEASE
    assert not row["reaches_broker"]
    assert {row[name] for name in ("ticked_at", "steady_since", "draining_at", "dead_at")} == {None}


async def test_id_of_a_worker_is_used_once(workers: Workers, offer: Offer) -> None:
    me = new_worker_id()
    await workers.register(me, offer, LEASE)

    with pytest.raises(UnstorableValuesError) as caught:
        await workers.register(me, offer, LEASE)

    assert caught.value.constraint == "pk_workers"


async def test_later_workers_have_larger_ids() -> None:
    ids = [new_worker_id() for _ in range(100)]

    assert ids == sorted(ids)


async def test_renewal_prolongs_a_lease_even_one_that_is_over(workers: Workers, worker_row: Any, table: Any) -> None:
    me = await table.worker(expires_at=timedelta(seconds=-10))
    start = await table.now()

    is_alive = await workers.renew(me, LEASE, in_flight=7)

    row = await worker_row(me)
    assert is_alive
    assert start <= row["expires_at"] - LEASE <= await table.now()
    assert row["in_flight"] == 7


async def test_dead_worker_cannot_renew_elect_drain_or_retire(
    workers: Workers, worker_row: Any, table: Any, elect: Any
) -> None:
    me = await table.dead_worker()
    before = await worker_row(me)

    assert not await workers.renew(me, LEASE)
    assert await elect(me) is None
    await workers.drain(me)
    await workers.retire(me)
    assert await worker_row(me) == before


async def test_unknown_worker_cannot_renew_or_elect(workers: Workers, table: Any, elect: Any) -> None:
    assert not await workers.renew(new_worker_id(), LEASE)
    assert await elect(new_worker_id()) is None


async def test_held_rows_are_what_the_rows_say_this_worker_holds(workers: Workers, table: Any) -> None:
    me, other = await table.worker(), await table.worker()
    held = await table.running(me)
    unwanted = await table.running(me, cancel_requested_at=timedelta(seconds=-1))
    await table.running(other)
    await table.put("COMPLETED", worker_id=me)
    await table.put("PENDING", worker_id=me)

    rows = await workers.held_rows(me)

    tokens = {task_id: (await table.task(task_id))["lease_token"] for task_id in (held, unwanted)}
    assert sorted(rows, key=lambda row: row.id) == [
        HeldRow(held, tokens[held], is_cancel_requested=False),
        HeldRow(unwanted, tokens[unwanted], is_cancel_requested=True),
    ]


async def test_drain_begins_once(workers: Workers, worker_row: Any, table: Any) -> None:
    me = await table.worker()

    await workers.drain(me)
    first = (await worker_row(me))["draining_at"]
    await workers.drain(me)

    assert first is not None
    assert (await worker_row(me))["draining_at"] == first


@pytest.mark.parametrize(("drains", "lost_count"), [(True, 0), (False, 1)])
async def test_retired_worker_is_dead_and_leaves_its_tasks_to_the_sweep(
    workers: Workers, table: Any, *, drains: bool, lost_count: int
) -> None:
    me = await table.worker()
    if drains:
        await workers.drain(me)
    task_id = await table.running(me)

    await workers.retire(me)

    assert not await workers.renew(me, LEASE)
    assert [ended.id for ended in await workers.sweep(await workers.dead_holders(), rows=10)] == [task_id]
    assert (await table.task(task_id))["lost_count"] == lost_count


async def test_only_worker_leads_at_its_first_tick(
    workers: Workers, table: Any, elect: Any, worker_row: Any, offer: Offer
) -> None:
    me, start = new_worker_id(), await table.now()
    await workers.register(me, offer, LEASE)

    leader_id = await elect(me)

    row = await worker_row(me)
    assert leader_id == me
    assert start <= row["ticked_at"] == row["steady_since"] <= await table.now()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, {"steady_since": timedelta(seconds=-29)}),
        ({"reaches_broker": False}, {"steady_since": timedelta(seconds=-29)}),
        ({}, {"reaches_broker": False}),
        ({"steady_since": timedelta(seconds=-29)}, {"steady_since": timedelta(seconds=-25)}),
        ({}, {"draining_at": timedelta(seconds=-1)}),
        ({}, {"dead_at": timedelta(seconds=-1)}),
        ({}, {"expires_at": timedelta(seconds=-1)}),
        ({}, {"ticked_at": timedelta(seconds=-16)}),
        ({}, {"ticked_at": None, "steady_since": None}),
    ],
    ids=[
        "smaller id",
        "steady",
        "steady without the broker",
        "reaches the broker",
        "both unsteady",
        "draining",
        "dead",
        "lease over",
        "not ticking",
        "never ticked",
    ],
)
async def test_everybody_finds_the_same_leader(
    first: dict[str, Any], second: dict[str, Any], table: Any, elect: Any
) -> None:
    """`first` leads, though `second` has the smaller id where something else makes it come second."""
    small, large, witness = sorted(new_worker_id() for _ in range(3))
    leader, other = (small, large) if first == second or "steady_since" in first else (large, small)
    await table.worker(id=leader, **first)
    await table.worker(id=other, **second)
    await table.worker(id=witness, reaches_broker=False, steady_since=timedelta(seconds=-5))

    seen_by_witness = await elect(witness, reaches_broker=False)
    seen_by_leader = await elect(leader, reaches_broker=first.get("reaches_broker", True))

    assert seen_by_witness == leader
    assert seen_by_leader == leader


@pytest.mark.parametrize("columns", [{"expires_at": timedelta(seconds=-1)}, {"draining_at": timedelta(seconds=-1)}])
async def test_worker_that_may_not_lead_knows_it(columns: dict[str, Any], table: Any, elect: Any) -> None:
    me = await table.worker(**columns)
    alone = await elect(me)
    other = await table.worker(steady_since=timedelta(seconds=-1))

    assert alone is None
    assert await elect(me) == other


async def test_ticks_without_a_gap_keep_their_steadiness(table: Any, elect: Any, worker_row: Any) -> None:
    me = await table.worker(ticked_at=timedelta(seconds=-9), steady_since=timedelta(seconds=-31))
    before, start = await worker_row(me), await table.now()

    await elect(me)

    after = await worker_row(me)
    assert after["steady_since"] == before["steady_since"]
    assert start <= after["ticked_at"] <= await table.now()


async def test_gap_of_over_two_intervals_begins_steadiness_anew(table: Any, elect: Any, worker_row: Any) -> None:
    me = await table.worker(ticked_at=timedelta(seconds=-11))

    await elect(me)

    row = await worker_row(me)
    assert row["steady_since"] == row["ticked_at"]


async def test_steadiness_takes_a_lease_to_reach(workers: Workers, table: Any, elect: Any) -> None:
    me = await table.worker(steady_since=timedelta(seconds=-29))
    await table.worker(expires_at=timedelta(seconds=-60))

    await elect(me)

    assert await workers.declare_dead(me, LEASE) == []


async def test_tick_says_whether_the_broker_is_reached(table: Any, elect: Any, worker_row: Any) -> None:
    me = await table.worker(reaches_broker=True)

    await elect(me, reaches_broker=False)

    assert not (await worker_row(me))["reaches_broker"]


async def test_steady_worker_declares_dead_whose_lease_is_over(workers: Workers, table: Any) -> None:
    me, healthy = await table.worker(), await table.worker()
    late = [await table.worker(expires_at=timedelta(seconds=-1), host=host, pid=4711) for host in ("a", "b")]
    await table.dead_worker()

    lost = await workers.declare_dead(me, LEASE)

    assert {*lost} == {LostWorker(late[0], "a", 4711), LostWorker(late[1], "b", 4711)}
    assert await workers.declare_dead(me, LEASE) == []
    dead = await table.fetch("SELECT id FROM workers WHERE dead_at IS NULL ORDER BY id")
    assert [row["id"] for row in dead] == [me, healthy]


@pytest.mark.parametrize(
    "columns",
    [
        {"steady_since": timedelta(seconds=-29)},
        {"steady_since": None, "ticked_at": None},
        {"dead_at": timedelta(seconds=-1)},
    ],
    ids=["unsteady", "never ticked", "dead itself"],
)
async def test_worker_that_is_not_steady_declares_nobody_dead(
    columns: dict[str, Any], workers: Workers, table: Any
) -> None:
    me = await table.worker(**columns)
    await table.worker(expires_at=timedelta(seconds=-60))

    assert await workers.declare_dead(me, LEASE) == []


async def test_steadiness_is_lost_with_the_ticks_not_with_the_next_one(workers: Workers, table: Any) -> None:
    """A worker that has not ticked for a while may have missed an outage: its old `steady_since` proves nothing."""
    me = await table.worker(ticked_at=timedelta(seconds=-60))
    await table.worker(expires_at=timedelta(seconds=-40))

    assert await workers.declare_dead(me, LEASE) == []


async def test_worker_that_has_no_row_gets_a_dead_one_so_that_its_tasks_come_back(workers: Workers, table: Any) -> None:
    me, lost = await table.worker(), new_worker_id()
    task_id, held = await table.running(lost), await table.running(me)

    holders = await workers.dead_holders()
    swept = await workers.sweep(holders, rows=10)

    assert holders == [lost]
    assert [ended.id for ended in swept] == [task_id]
    assert await table.status(held) == "IN_PROGRESS"
    assert not await workers.renew(lost, LEASE)


async def test_sweep_leaves_the_tasks_of_workers_that_are_alive_or_have_no_row(workers: Workers, table: Any) -> None:
    alive, unknown = await table.worker(), new_worker_id()
    held = [await table.running(alive), await table.running(unknown)]

    assert await workers.sweep([alive, unknown], rows=10) == []
    assert [await table.status(task_id) for task_id in held] == ["IN_PROGRESS"] * 2


async def test_rows_of_long_dead_workers_are_forgotten_unless_they_hold_something(workers: Workers, table: Any) -> None:
    long_ago = timedelta(days=-8)
    gone = await table.worker(dead_at=long_ago)
    holding = await table.worker(dead_at=long_ago)
    await table.running(holding)
    fresh, alive = await table.dead_worker(), await table.worker()

    assert await workers.forget_dead(timedelta(days=7), rows=10) == [gone]

    assert await workers.forget_dead(timedelta(days=7), rows=10) == []
    left = {row["id"] for row in await table.fetch("SELECT id FROM workers")}
    assert left == {holding, fresh, alive}
    assert gone not in left


async def test_held_among_is_what_held_rows_says_of_those_tasks(workers: Workers, table: Any) -> None:
    me = await table.worker()
    held = [await table.running(me), await table.running(me, cancel_requested_at=timedelta(seconds=-1))]
    others = [await table.put(), await table.running(await table.worker()), await table.put("COMPLETED", worker_id=me)]

    among = await workers.held_among(me, [*others, *held[1:], uuid4()])

    assert among == [row for row in await workers.held_rows(me) if row.id == held[1]]
    assert await workers.held_among(me, []) == []


async def test_so_many_dead_workers_are_forgotten_at_a_time(workers: Workers, table: Any) -> None:
    for _ in range(5):
        await table.worker(dead_at=timedelta(days=-8))

    assert [len(await workers.forget_dead(timedelta(days=7), rows=2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_sweep_finds_the_tasks_of_the_dead_among_those_of_the_living(workers: Workers, table: Any) -> None:
    lost = set()
    for is_dead in (False, True, False, True, True, False):
        worker_id = await (table.dead_worker() if is_dead else table.worker())
        ids = {await table.running(worker_id) for _ in range(3)}
        lost |= ids if is_dead else set()

    swept = [[ended.id for ended in await workers.sweep(await workers.dead_holders(), rows=4)] for _ in range(4)]

    assert [len(ids) for ids in swept] == [4, 4, 1, 0]
    assert {id_ for ids in swept for id_ in ids} == lost
