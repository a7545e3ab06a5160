"""What people and the API ask about workers: who lives, who leads, and which versions of types are on offer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from task_store import Database, LiveWorkers, Offer, TypeVersion, WorkerProcess, Workers, new_worker_id

LEASE = timedelta(seconds=30)
INTERVAL = timedelta(seconds=5)
OLD = {"type": "object", "properties": {"n": {"type": "integer"}}}
NEW = {**OLD, "required": ["n"]}


@pytest.fixture
def live(database: Database) -> LiveWorkers:
    return LiveWorkers(database)


async def test_live_worker_is_shown_with_where_it_runs_and_what_it_has(live: LiveWorkers, workers: Workers) -> None:
    me, offer = new_worker_id(), Offer(("default", "reports"), {"b": None, "a": OLD})
    await workers.register(me, offer, LEASE, WorkerProcess("web-1", 4711, "0.1.0", 50))
    await workers.renew(me, LEASE, in_flight=3)
    await workers.elect_leader(me, reaches_broker=True, interval=INTERVAL, lease=LEASE)

    (shown,) = await live.workers()

    assert (shown.id, shown.host, shown.pid, shown.version) == (me, "web-1", 4711, "0.1.0")
    assert (shown.queues, shown.types) == (["default", "reports"], ["a", "b"])
    assert (shown.slots, shown.in_flight) == (50, 3)
    assert 25 < shown.lease_remaining_seconds <= 30
    assert shown.silent_seconds is None
    assert shown.lease_expires_at - shown.started_at >= LEASE
    assert (shown.is_leader, shown.draining, shown.reaches_broker) == (True, False, True)


@pytest.mark.parametrize(
    ("lease", "left", "silent"), [(30, 30, None), (30, 21, None), (30, 18, 12), (3, 2.5, None), (300, 150, 150)]
)
async def test_worker_is_silent_once_it_has_not_renewed_for_a_third_of_its_lease(
    lease: float, left: float, silent: float | None, live: LiveWorkers, table: Any
) -> None:
    await table.worker(lease_seconds=lease, expires_at=timedelta(seconds=left))

    (shown,) = await live.workers()

    assert shown.silent_seconds == (None if silent is None else pytest.approx(silent, abs=0.4))


async def test_new_worker_is_not_said_to_be_without_the_broker_before_its_first_election(
    live: LiveWorkers, workers: Workers
) -> None:
    me = new_worker_id()
    await workers.register(me, Offer(("default",), {"a": None}), LEASE)
    before = [one.reaches_broker for one in await live.workers()]
    await workers.elect_leader(me, reaches_broker=False, interval=INTERVAL, lease=LEASE)

    assert (before, [one.reaches_broker for one in await live.workers()]) == ([True], [False])


async def test_the_dead_are_left_out_and_those_that_drain_are_not(live: LiveWorkers, table: Any) -> None:
    await table.dead_worker()
    await table.worker(expires_at=timedelta(seconds=-1))
    draining = await table.worker(draining_at=timedelta(seconds=-1))

    (shown,) = await live.workers()

    assert (shown.id, shown.draining, shown.is_leader) == (draining, True, False)


@pytest.mark.parametrize(
    ("first", "second", "leader"),
    [
        ({}, {}, 0),
        ({"reaches_broker": False}, {}, 1),
        ({"steady_since": timedelta(seconds=-20)}, {}, 1),
        ({"steady_since": timedelta(seconds=-20), "lease_seconds": 10}, {}, 0),
        ({"ticked_at": timedelta(seconds=-20)}, {}, 1),
        ({"ticked_at": timedelta(seconds=-20), "lease_seconds": 90}, {}, 0),
        ({"draining_at": timedelta(seconds=-1)}, {}, 1),
        ({"ticked_at": None, "steady_since": None}, {"ticked_at": None, "steady_since": None}, None),
    ],
)
async def test_leader_is_shown_as_the_election_picks_it(
    first: dict[str, Any], second: dict[str, Any], leader: int | None, live: LiveWorkers, table: Any
) -> None:
    ids = [await table.worker(**columns) for columns in (first, second)]

    shown = await live.workers()

    assert [one.id for one in shown] == ids
    assert [one.is_leader for one in shown] == [place == leader for place in range(2)]


async def test_the_worker_that_the_election_names_is_the_one_shown(
    live: LiveWorkers, workers: Workers, table: Any
) -> None:
    await table.worker(reaches_broker=False)
    await table.worker(steady_since=timedelta(seconds=-3))
    me = await table.worker()

    elected = await workers.elect_leader(me, reaches_broker=True, interval=INTERVAL, lease=LEASE)

    assert [one.id for one in await live.workers() if one.is_leader] == [elected] == [me]


async def test_versions_that_live_at_once_are_counted_by_queue_and_schema(
    live: LiveWorkers, workers: Workers, table: Any
) -> None:
    old, new = Offer(("default",), {"t": OLD}), Offer(("default", "reports"), {"t": NEW, "u": None})
    for offer in (old, old, new):
        await workers.register(new_worker_id(), offer, LEASE)
    await table.worker(queues=["default"], types=["u", "v"])
    await table.dead_worker(types=["gone"])
    await table.worker(types=["drained"], draining_at=timedelta(seconds=-1))

    versions = await live.versions()

    (old_hash,), (new_hash, _) = old.schema_hashes, new.schema_hashes
    assert versions == {
        TypeVersion("default", "t", old_hash): 2,
        TypeVersion("default", "t", new_hash): 1,
        TypeVersion("reports", "t", new_hash): 1,
        TypeVersion("default", "u", ""): 1,
        TypeVersion("reports", "u", ""): 1,
        TypeVersion("default", "u", None): 1,
        TypeVersion("default", "v", None): 1,
    }


async def test_schemas_are_those_that_were_written_and_can_be_read(
    live: LiveWorkers, workers: Workers, table: Any
) -> None:
    offer = Offer(("default",), {"free": None, "spoilt": OLD, "t": NEW})
    await workers.offer(offer)
    await table.execute("UPDATE task_types SET payload_schema = '[1]' WHERE type = 'spoilt'")
    free, spoilt, t = (TypeVersion("default", *one) for one in zip(offer.types, offer.schema_hashes, strict=True))
    unwritten = [
        TypeVersion("default", "t", "other"),
        TypeVersion("reports", "free", ""),
        free._replace(schema_hash=None),
    ]

    schemas = await live.schemas([free, spoilt, t, *unwritten])

    assert schemas == {free: None, t: NEW}
    assert await live.schemas(unwritten[2:]) == {}


async def test_types_are_the_versions_of_the_living_and_the_latest_of_those_that_are_gone(
    live: LiveWorkers, workers: Workers, table: Any
) -> None:
    for type_, days in (("alive", 0), ("gone", 1), ("forgotten", 8)):
        for age, schema in ((2, {"title": "older"}), (1, OLD), (0, NEW)):
            await workers.offer(Offer(("default",), {type_: schema}))
            await table.execute(
                "UPDATE task_types SET last_offered_at = now() - $1::interval WHERE type = $2 AND payload_schema = $3",
                timedelta(days=days, hours=age),
                type_,
                schema,
            )
    for schema in (OLD, NEW, NEW):
        await workers.register(new_worker_id(), Offer(("default",), {"alive": schema}), LEASE)

    types = await live.types()

    assert [(one.type, one.payload_schema, one.live_workers) for one in types] == [
        ("alive", NEW, 2),
        ("alive", OLD, 1),
        ("gone", NEW, 0),
    ]
    assert {one.queue for one in types} == {"default"}
    assert types[0].last_offered_at > types[1].last_offered_at
