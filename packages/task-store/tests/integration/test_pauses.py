"""Pauses: nothing that one covers begins, and all of it begins again afterwards, by messages and in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from task_contracts import Pause, PauseCreate, Priority, limits
from task_store import (
    Audit,
    AuditContext,
    Claims,
    Database,
    Dispatches,
    DispatchQuota,
    Lane,
    LiveOffers,
    Offer,
    PauseOverError,
    PauseRefusedError,
    Pauses,
    PausesNotKnownError,
    Workers,
    new_lease_token,
    new_worker_id,
)

LEASE = timedelta(seconds=30)
HOUR = timedelta(hours=1)
MEDIUM = Priority.MEDIUM
OFFERS = LiveOffers({"default": ("a", "b")}, {"default": 1})
QUOTAS = [DispatchQuota("default", priority, 50) for priority in Priority]
LANES = [Lane("default", priority, type_) for priority in Priority for type_ in ("a", "b")]


@pytest.fixture
def pauses(database: Database) -> Pauses:
    return Pauses(database)


@pytest.fixture
def offer() -> Offer:
    return Offer(("default",), {"a": None, "b": None})


@pytest.fixture
async def worker_id(workers: Workers, offer: Offer) -> UUID:
    id_ = new_worker_id()
    await workers.register(id_, offer, LEASE)
    return id_


@pytest.fixture
async def connection(connect: Callable[[], Awaitable[asyncpg.Connection]]) -> asyncpg.Connection:
    return await connect()


async def marked(dispatches: Dispatches) -> list[UUID]:
    return [task.id for tasks in (await dispatches.mark(QUOTAS, OFFERS)).values() for task in tasks]


async def settle(pauses: Pauses, dispatches: Dispatches) -> None:
    over = await pauses.over()
    for pause in over:
        await pauses.take_back_marks(pause, LANES)
    await pauses.settle([pause.id for pause in over])
    dispatches.forget(LANES)


@pytest.mark.parametrize(
    "asked", [{}, {"queue": "default"}, {"type": "a"}, {"priority": MEDIUM}, {"type": "a", "queue": "default"}]
)
async def test_what_a_pause_covers_is_not_marked_claimed_or_found(
    pauses: Pauses, dispatches: Dispatches, claims: Claims, worker_id: UUID, table: Any, asked: dict[str, Any]
) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    await pauses.add(PauseCreate(**asked))

    assert await marked(dispatches) == []
    assert not (await claims.by_id(worker_id, [task], new_lease_token())).claims
    assert await claims.find_overdue(slots=5, overdue=timedelta(seconds=2)) == []
    assert await dispatches.next_due(QUOTAS, OFFERS) is None


@pytest.mark.parametrize(
    "asked", [{"queue": "reports"}, {"type": "b"}, {"priority": Priority.HIGH}, {"type": "a", "queue": "reports"}]
)
async def test_what_no_pause_covers_goes_on(
    pauses: Pauses, dispatches: Dispatches, claims: Claims, worker_id: UUID, table: Any, asked: dict[str, Any]
) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    await pauses.add(PauseCreate(**asked))

    assert await claims.find_overdue(slots=5, overdue=timedelta(seconds=2)) == [task]
    assert await marked(dispatches) == [task]
    assert len((await claims.by_id(worker_id, [task], new_lease_token())).claims) == 1


async def test_a_suspect_is_not_found_and_hides_no_other_one(
    pauses: Pauses, claims: Claims, worker_id: UUID, table: Any
) -> None:
    for _ in range(8):
        await table.put(type="a", due_at=-HOUR, lost_count=2)
    other = await table.put(type="b", due_at=-timedelta(minutes=1), lost_count=2)
    await pauses.add(PauseCreate(type="a"))

    found = await claims.find_suspects(overdue=timedelta(seconds=2))

    assert found == [other]


async def test_marks_are_taken_back_before_anything_is_marked_and_the_poll_waits_for_that(
    pauses: Pauses, dispatches: Dispatches, claims: Claims, worker_id: UUID, table: Any
) -> None:
    consumed = await table.put(type="a", due_at=-HOUR)
    assert await marked(dispatches) == [consumed]
    pause = await pauses.add(PauseCreate(type="a"))
    assert not (await claims.by_id(worker_id, [consumed], new_lease_token())).claims, "its message is consumed"
    new = await table.put(type="a", due_at=-timedelta(minutes=1))

    await pauses.end(pause.id)

    assert await marked(dispatches) == []
    assert dispatches.is_pause_over
    assert await claims.find_overdue(slots=5, overdue=timedelta(seconds=2)) == []
    assert await dispatches.next_due(QUOTAS, OFFERS) is None
    assert dispatches.is_pause_over
    await settle(pauses, dispatches)
    assert await claims.find_overdue(slots=5, overdue=timedelta(seconds=2)) == []
    assert await marked(dispatches) == [consumed, new]
    assert not dispatches.is_pause_over
    assert len((await claims.by_id(worker_id, [consumed, new], new_lease_token())).claims) == 2


async def test_without_a_leader_the_poll_takes_what_was_paused(
    pauses: Pauses, claims: Claims, table: Any, connection: asyncpg.Connection
) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    pause = await pauses.add(PauseCreate())
    await pauses.end(pause.id)
    assert await claims.find_overdue(slots=5, overdue=timedelta(seconds=2)) == []

    await connection.execute("UPDATE pauses SET ended_at = ended_at - interval '11 seconds'")

    assert await claims.find_overdue(slots=5, overdue=timedelta(seconds=2)) == [task]


async def test_an_idle_leader_that_only_asks_what_is_due_learns_that_a_pause_is_over(
    pauses: Pauses, dispatches: Dispatches
) -> None:
    pause = await pauses.add(PauseCreate())
    await dispatches.next_due(QUOTAS, OFFERS)
    assert not dispatches.is_pause_over
    await pauses.end(pause.id)

    await dispatches.next_due(QUOTAS, OFFERS)
    assert dispatches.is_pause_over
    await settle(pauses, dispatches)
    await dispatches.next_due(QUOTAS, OFFERS)
    assert not dispatches.is_pause_over


async def test_a_leader_that_ends_before_it_has_settled_leaves_that_to_the_next(
    pauses: Pauses, dispatches: Dispatches, database: Database, table: Any
) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    await marked(dispatches)
    pause = await pauses.add(PauseCreate(type="a"))
    await pauses.end(pause.id)
    (over,) = await pauses.over()
    assert await pauses.take_back_marks(over, LANES) == 1  # and the power goes

    other = Dispatches(database, database)
    assert await marked(other) == []
    assert other.is_pause_over
    await settle(pauses, other)

    assert await marked(other) == [task]


async def test_a_pause_whose_adder_ended_before_it_read_the_clock_holds_all_the_same(
    pauses: Pauses, dispatches: Dispatches, table: Any, connection: asyncpg.Connection
) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    assert await marked(dispatches) == [task]
    pause = await pauses.add(PauseCreate(type="a"))
    await connection.execute("UPDATE pauses SET effective_at = NULL")

    (shown,) = await pauses.standing()
    assert shown.effective_at > pause.effective_at
    await pauses.end(pause.id)
    await settle(pauses, dispatches)

    assert await marked(dispatches) == [task]


async def test_a_pause_ends_by_itself(pauses: Pauses, dispatches: Dispatches, table: Any) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    until = datetime.now(UTC) + timedelta(seconds=1)
    await pauses.add(PauseCreate(type="a", until=until))

    due = await dispatches.next_due(QUOTAS, OFFERS)
    assert due is not None
    assert timedelta(0) < due <= timedelta(seconds=1.5)
    await asyncio.sleep(1.1)
    assert await pauses.standing() == []
    (ended,) = await pauses.standing(with_ended=True)
    assert ended.ended_at == until
    assert await marked(dispatches) == []
    await settle(pauses, dispatches)

    assert await marked(dispatches) == [task]


async def test_what_two_pauses_cover_begins_when_both_are_over(
    pauses: Pauses, dispatches: Dispatches, table: Any
) -> None:
    task = await table.put(type="a", due_at=-HOUR)
    first, second = await pauses.add(PauseCreate(type="a")), await pauses.add(PauseCreate(queue="default"))

    for pause, expected in ((first, []), (second, [task])):
        await pauses.end(pause.id)
        await marked(dispatches)
        await settle(pauses, dispatches)
        assert await marked(dispatches) == expected


async def test_two_who_end_a_pause_at_once_one_is_told_that_it_is_over(pauses: Pauses) -> None:
    pause = await pauses.add(PauseCreate())

    answers = await asyncio.gather(*(pauses.end(pause.id) for _ in range(8)), return_exceptions=True)

    assert [type(one) for one in answers].count(Pause) == 1
    assert [type(one) for one in answers].count(PauseOverError) == 7
    assert await pauses.end(uuid4()) is None


async def test_a_worker_that_does_not_know_pauses_forbids_them(
    pauses: Pauses, worker_id: UUID, connection: asyncpg.Connection
) -> None:
    await pauses.add(PauseCreate(type="a"))
    await connection.execute("UPDATE workers SET schema_revision = NULL, host = 'old-one', pid = 47")

    with pytest.raises(PausesNotKnownError, match="old-one:47"):
        await pauses.add(PauseCreate())

    await connection.execute("UPDATE workers SET dead_at = now()")
    assert await pauses.add(PauseCreate())


async def test_what_cannot_be_is_refused_and_leaves_nothing(pauses: Pauses, connection: asyncpg.Connection) -> None:
    with pytest.raises(PauseRefusedError, match="time to come"):
        await pauses.add(PauseCreate(until=datetime.now(UTC) - HOUR))
    for _ in range(limits.PAUSES_MAX):
        await pauses.add(PauseCreate(type="a"))
    with pytest.raises(PauseRefusedError, match=str(limits.PAUSES_MAX)):
        await pauses.add(PauseCreate())

    assert await connection.fetchval("SELECT count(*) FROM pauses") == limits.PAUSES_MAX
    assert await connection.fetchval("SELECT count(*) FROM audit_log") == limits.PAUSES_MAX


async def test_the_audit_names_who_paused_and_who_resumed_what(pauses: Pauses, database: Database) -> None:
    pause = await pauses.add(PauseCreate(type="a", reason="why"), AuditContext("ann", "r-1"))
    await pauses.end(pause.id, AuditContext("bob", "r-2"))

    entries, _ = await Audit(database).page(items=10)

    assert [(one.actor, one.action, one.target, one.filter, one.request_id) for one in entries] == [
        ("bob", "tasks.resume", str(pause.id), {"type": "a"}, "r-2"),
        ("ann", "tasks.pause", str(pause.id), {"type": "a"}, "r-1"),
    ]
    assert pause.paused_by == "ann"


async def test_nothing_begins_at_effective_at_or_later(
    pauses: Pauses, claims: Claims, worker_id: UUID, table: Any, connection: asyncpg.Connection
) -> None:
    """Claims run all the time, each of one task, while the pause comes."""
    ids = await table.fill(1_500, type="a")
    stopped = asyncio.Event()

    async def claim(part: list[UUID]) -> None:
        for task in part:
            if not stopped.is_set():
                await claims.by_id(worker_id, [task], new_lease_token())

    claiming = [asyncio.create_task(claim(ids[one::3])) for one in range(3)]
    await asyncio.sleep(0.3)
    pause = await pauses.add(PauseCreate(type="a"))
    await asyncio.sleep(0.2)
    stopped.set()
    await asyncio.gather(*claiming)

    begun = "SELECT count(*) FROM tasks WHERE started_at IS NOT NULL"
    assert await connection.fetchval(begun), "some begin before"
    assert not await connection.fetchval(f"{begun} AND started_at >= $1", pause.effective_at)


async def test_old_pauses_are_forgotten(pauses: Pauses, connection: asyncpg.Connection) -> None:
    first, second = await pauses.add(PauseCreate()), await pauses.add(PauseCreate())
    await pauses.end(first.id)
    await pauses.settle([first.id])
    await connection.execute("UPDATE pauses SET settled_at = settled_at - interval '15 days'")

    assert len(await pauses.forget(timedelta(days=14), rows=10)) == 1

    assert [one.id for one in await pauses.standing(with_ended=True)] == [second.id]
