"""Every (status, event) pair of the life cycle, and every guard of every event, on real rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

import task_store._creations
from task_contracts import REJECTED_FAILURE, FailureKind, PauseCreate, Priority, TaskError, TaskStatus, TaskUpdate
from task_contracts.lifecycle import CANCELLATION, COLUMN_RULES, LIFECYCLE, Event, Guard, Presence, Transition, Write
from task_contracts.testing import a_create
from task_store import (
    Attempts,
    Claims,
    Database,
    Dispatches,
    DispatchQuota,
    Ending,
    Lane,
    LiveOffers,
    NewTask,
    Offer,
    Pauses,
    Tasks,
    UnstorableValuesError,
    Workers,
)

LEASE = timedelta(seconds=30)
DELAY = timedelta(seconds=45)
LATER = timedelta(hours=2)
RETENTION = timedelta(hours=12)
HASH = bytes(32)
ERROR = TaskError(code="failed", message="no such file", type="OSError")
KIND = FailureKind("echo", "OSError", "reports in build")
TOKEN, OTHER_TOKEN = uuid4(), uuid4()
ME, DEAD, DRAINED = uuid7(), uuid7(), uuid7()
OFFERS = LiveOffers({"default": ("echo",)}, {"default": 1})
QUOTAS = [DispatchQuota("default", priority, 10) for priority in Priority]
ABSENT = None


@dataclass(frozen=True)
class Key:
    id: UUID
    lease_token: UUID = TOKEN


@dataclass
class World:
    """The store, with a method that makes each event happen to a task and returns the event that happened, or None."""

    database: Database
    table: Any
    told: list[UUID]
    tasks: Tasks = field(init=False)
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        self.tasks, self.workers = Tasks(self.database), Workers(self.database)
        offer, weights = Offer(("default",), {"echo": None}), dict.fromkeys(Priority, 1)
        self.attempts = Attempts(self.database)
        self.claims = Claims(self.database, self.database, self.database, offer, weights)

    async def make(self, event: Event, task_id: UUID) -> Event | None:
        return await getattr(self, f"_{event.lower()}")(task_id)

    async def _create(self, task_id: UUID) -> Event | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(task_store._creations, "uuid7", lambda: task_id)
            try:
                await self.tasks.create(NewTask(a_create(), "echo"))
            except UnstorableValuesError:  # an id is used once
                return None
        return Event.CREATE

    async def _dispatch(self, task_id: UUID) -> Event | None:
        marked = await Dispatches(self.database, self.database).mark(QUOTAS, OFFERS)
        return Event.DISPATCH if task_id in {task.id for tasks in marked.values() for task in tasks} else None

    async def _undispatch(self, task_id: UUID) -> Event | None:
        del task_id  # the only one there is
        pauses = Pauses(self.database)
        await pauses.end((await pauses.add(PauseCreate())).id)
        (over,) = await pauses.over()
        taken = await pauses.take_back_marks(over, [Lane("default", priority, "echo") for priority in Priority])
        await pauses.settle([over.id])
        return Event.UNDISPATCH if taken else None

    async def _claim(self, task_id: UUID) -> Event | None:
        claimed = (await self.claims.by_id(ME, [task_id], TOKEN)).claims
        return Event.CLAIM if [claim.id for claim in claimed] == [task_id] else None

    async def _complete(self, task_id: UUID) -> Event | None:
        return await self._record(Ending.complete(Key(task_id), '{"words": 7}'))

    async def _retry(self, task_id: UUID) -> Event | None:
        return await self._record(Ending.retry(Key(task_id), ERROR, after=DELAY))

    async def _fail(self, task_id: UUID) -> Event | None:
        return await self._record(Ending.fail(Key(task_id), ERROR, kind=KIND))

    async def _snooze(self, task_id: UUID) -> Event | None:
        return await self._record(Ending.snooze(Key(task_id), after=DELAY))

    async def _release(self, task_id: UUID) -> Event | None:
        return await self._record(Ending.release(Key(task_id), after=DELAY))

    async def _confirm_cancel(self, task_id: UUID) -> Event | None:
        return await self._record(Ending(task_id, TOKEN, Event.CONFIRM_CANCEL))

    async def _record(self, ending: Ending) -> Event | None:
        ended = await self.attempts.record(ending)
        return ended and ended.event

    async def _sweep(self, task_id: UUID) -> Event | None:
        swept = await self.workers.sweep([ME, DEAD, DRAINED], rows=10)
        return next((ended.event for ended in swept if ended.id == task_id), None)

    _rescue = _abandon = _cancel_lost = _sweep

    async def _cancel(self, task_id: UUID) -> Event | None:
        changed = await self.tasks.cancel(task_id)
        return changed and changed.event

    _request_cancel = _cancel

    async def _reschedule(self, task_id: UUID) -> Event | None:
        run_at = await self.table.now() + LATER
        changed = await self.tasks.reschedule(task_id, TaskUpdate(priority=Priority.HIGH, run_at=run_at))
        return changed and changed.event

    async def _reject(self, task_id: UUID) -> Event | None:
        rejected = await self.workers.reject(LEASE, rows=10)
        return Event.REJECT if task_id in dict(rejected) else None

    async def _rerun(self, task_id: UUID) -> Event | None:
        changed = await self.tasks.rerun(task_id)
        return changed and changed.event

    async def _purge(self, task_id: UUID) -> Event | None:
        return Event.PURGE if await self.workers.purge(RETENTION, [task_id]) else None


LONG_AGO = {"created_at": timedelta(days=-3), "started_at": timedelta(days=-2), "finished_at": timedelta(days=-2)}
SATISFIED: dict[Event, dict[str, Any]] = {
    Event.DISPATCH: {"dispatched_at": None},
    Event.UNDISPATCH: {"dispatched_at": timedelta(seconds=-5)},
    **{
        event: {"lease_token": TOKEN}
        for event in (Event.COMPLETE, Event.RETRY, Event.FAIL, Event.SNOOZE, Event.RELEASE)
    },
    Event.CONFIRM_CANCEL: {"lease_token": TOKEN, "cancel_requested_at": timedelta(seconds=-5)},
    Event.RESCUE: {"worker_id": DEAD},
    Event.ABANDON: {"worker_id": DEAD, "lost_count": 2},
    Event.CANCEL_LOST: {"worker_id": DEAD, "cancel_requested_at": timedelta(seconds=-5)},
    Event.REJECT: {"type": "unknown"},
    Event.RERUN: {"cancel_requested_at": timedelta(seconds=-5)},
    Event.PURGE: LONG_AGO,
}
"""What a row must contain for an event to happen, beside what `Table.put` writes."""

RICH = {
    "description": "with something in every column that may hold something",
    "labels": {"customer": "42"},
    "payload": {"n": 1},
    "timeout_seconds": 9.5,
    "max_attempts": 7,
    "attempt": 4,
    "failures": 1,
    "lost_count": 1,
    "rerun_count": 1,
    "lease_token": OTHER_TOKEN,
    "worker_id": ME,
    "started_at": timedelta(minutes=-30),
    "dispatched_at": timedelta(seconds=-20),
    "progress": {"percent": 40.0, "message": None},
    "result": {"old": True},
    "error": ERROR.model_dump(),
    "fingerprint": KIND.fingerprint,
    "checkpoint": {"page": 3},
    "version": 5,
    "idempotency_key": "k",
    "request_hash": HASH,
}


def storable(status: TaskStatus, columns: dict[str, Any]) -> dict[str, Any]:
    """Leave out the columns that must be empty in this status."""
    return {
        name: value
        for name, value in columns.items()
        if name not in COLUMN_RULES or COLUMN_RULES[name][status] is not Presence.NEVER
    }


@pytest.fixture
async def world(database: Database, table: Any) -> AsyncIterator[World]:
    told: list[UUID] = []
    async with Database(database.url, on_changed=told.extend) as telling:
        yield World(telling, table, told)


async def set_the_scene(table: Any) -> None:
    await table.worker(id=ME)
    await table.dead_worker(id=DEAD)
    await table.dead_worker(id=DRAINED, draining_at=timedelta(minutes=-2))


@dataclass
class Clock:
    start: datetime
    end: datetime

    def shows(self, moment: datetime | None) -> bool:
        return moment is not None and self.start <= moment <= self.end


Check = Callable[[Any, dict[str, Any], Clock], bool]


def is_now(new: Any, _: dict[str, Any], clock: Clock) -> bool:
    return clock.shows(new)


def is_null(new: Any, _: dict[str, Any], __: Clock) -> bool:
    return new is None


def is_now_plus(delay: timedelta) -> Check:
    return lambda new, _, clock: clock.shows(new - delay)


def equals(value: Any) -> Check:
    return lambda new, _, __: new == value


def one_more(name: str) -> Check:
    return lambda new, before, _: new == before[name] + 1


def has_code(code: str) -> Check:
    return lambda new, _, __: new["code"] == code and new["message"] and new["type"] is None


def is_of_its_kind(new: Any, before: dict[str, Any], _: Clock) -> bool:
    lost = FailureKind(before["type"], "worker_lost")
    return new in {one.fingerprint for one in (KIND, lost, REJECTED_FAILURE)}


FRESH = (
    *("started_at", "finished_at", "worker_id", "lease_token", "cancel_requested_at"),
    *("result", "error", "fingerprint", "progress", "checkpoint"),
)
WRITTEN: dict[Write, dict[str, Check]] = {
    Write.DISPATCHED: {"dispatched_at": is_now},
    Write.UNDISPATCHED: {"dispatched_at": is_null},
    Write.LEASE: {
        "attempt": one_more("attempt"),
        "lease_token": equals(TOKEN),
        "worker_id": equals(ME),
        "started_at": is_now,
    },
    Write.RESULT: {"result": equals({"words": 7}), "result_bytes": equals(len('{"words": 7}')), "error": is_null},
    Write.ERROR: {"error": equals(ERROR.model_dump())},
    Write.FAILURE: {"failures": one_more("failures")},
    Write.FINGERPRINT: {"fingerprint": is_of_its_kind},
    Write.FINISHED: {"finished_at": is_now},
    Write.COUNTS_CLEARED: {"failures": equals(0), "lost_count": equals(0)},
    Write.DUE_NOW: {"due_at": is_now},
    Write.DUE_AS_ASKED: {"due_at": is_now_plus(DELAY)},
    Write.LOSS: {"lost_count": one_more("lost_count")},
    Write.WORKER_LOST: {"error": has_code("worker_lost")},
    Write.CANCEL_REQUEST: {"cancel_requested_at": is_now},
    Write.SCHEDULE: {"priority": equals("HIGH"), "run_at": is_now_plus(LATER), "due_at": is_now_plus(LATER)},
    Write.UNKNOWN_TYPE: {"error": has_code("unknown_type")},
    Write.FRESH_RUN: {
        "rerun_count": one_more("rerun_count"),
        "failures": equals(0),
        "lost_count": equals(0),
        "result_bytes": equals(0),
        "checkpoint_bytes": equals(0),
        **dict.fromkeys(FRESH, is_null),
    },
}
"""What each write of the table must set in the row."""


def check_row(transition: Transition, before: dict[str, Any], after: dict[str, Any], clock: Clock) -> None:
    """Check that an event wrote what its transition lists, and nothing else."""
    expected: dict[str, Check] = {
        "version": one_more("version"),
        "status": equals(transition.target or before["status"]),
    }
    for write in transition.writes:
        expected |= WRITTEN[write]
    for name, check in expected.items():
        assert check(after[name], before, clock), f"{transition.event} wrote {name} = {after[name]!r}"
    for name in before.keys() - expected.keys():
        assert after[name] == before[name], f"{transition.event} also wrote {name} = {after[name]!r}"


def expected_event(event: Event, status: TaskStatus | None) -> Event | None:
    """Return what happens when `event` is asked for. Of the two events of a cancellation the possible one happens."""
    if status is ABSENT:
        return event if event is Event.CREATE else None
    wanted = CANCELLATION if event in CANCELLATION else (event,)
    return next((one for one in wanted if status in LIFECYCLE[one].sources), None)


@pytest.mark.parametrize("event", Event)
async def test_event_happens_from_its_sources_alone_and_writes_what_the_table_says(
    event: Event, world: World, table: Any, subtests: pytest.Subtests
) -> None:
    for status in (ABSENT, *TaskStatus):
        with subtests.test(status=status):
            await table.clear()
            await set_the_scene(table)
            task_id = uuid7()
            if status is not ABSENT:
                await table.put(status, id=task_id, **storable(status, {**RICH, **SATISFIED.get(event, {})}))
            before = await table.task(task_id)
            start = await table.now()

            happened = await world.make(event, task_id)

            after, clock = await table.task(task_id), Clock(start, await table.now())
            assert happened == expected_event(event, status)
            if happened is None:
                assert after == before
            elif happened is Event.PURGE:
                assert after is None
            elif happened is Event.CREATE:
                assert (after["status"], after["version"], after["attempt"]) == (TaskStatus.NEW, 1, 0)
                assert clock.shows(after["created_at"])
                assert after["due_at"] == after["created_at"]
            else:
                check_row(LIFECYCLE[happened], before, after, clock)


UNTOLD = {Event.DISPATCH, Event.UNDISPATCH, Event.PURGE}
"""The first two say nothing that a claim does not say at once, the last leaves nothing to read."""


@pytest.mark.parametrize("event", Event)
async def test_every_change_of_a_version_is_told_and_nothing_else(
    event: Event, world: World, table: Any, subtests: pytest.Subtests
) -> None:
    for status in (ABSENT, *TaskStatus):
        with subtests.test(status=status):
            await table.clear()
            await set_the_scene(table)
            task_id = uuid7()
            if status is not ABSENT:
                await table.put(status, id=task_id, **storable(status, {**RICH, **SATISFIED.get(event, {})}))
            world.told.clear()

            happened = await world.make(event, task_id)

            assert world.told == ([] if happened is None or happened in UNTOLD else [task_id])


Spoil = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Violation:
    """One guard that does not hold, because of the row or of other rows. `instead` is the event that then happens."""

    event: Event
    guard: Guard
    columns: dict[str, Any] = field(default_factory=dict)
    spoil: Spoil | None = None
    instead: Event | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.event}-{self.name or self.guard.name}"


async def i_am_dead(table: Any) -> None:
    await table.set("workers", ME, dead_at=timedelta(seconds=-1))


async def my_lease_is_over(table: Any) -> None:
    await table.set("workers", ME, expires_at=timedelta(seconds=-1))


async def i_never_registered(table: Any) -> None:
    await table.connection.execute("DELETE FROM workers WHERE id = $1", ME)


async def dead_lives(table: Any) -> None:
    await table.set("workers", DEAD, dead_at=None, expires_at=timedelta(minutes=1))


async def dead_is_merely_late(table: Any) -> None:
    await table.set("workers", DEAD, dead_at=None, expires_at=timedelta(minutes=-1))


async def somebody_offers_it(table: Any) -> None:
    await table.worker(types=["echo", "unknown"])


async def it_was_offered_six_days_ago(table: Any) -> None:
    query = "INSERT INTO task_types VALUES ('default', 'unknown', '', NULL, statement_timestamp() - interval '6 days')"
    await table.connection.execute(query)


async def nobody_serves_the_queue(table: Any) -> None:
    await table.set("workers", ME, queues=["reports"])


async def it_is_paused(table: Any) -> None:
    await table.connection.execute(
        "INSERT INTO pauses (id, type, paused_by, created_at)"
        " SELECT gen_random_uuid(), type, '', now() FROM unnest(ARRAY['echo', 'unknown']) AS type"
    )


FUTURE = {"due_at": timedelta(seconds=30)}
CANCELLED = {"cancel_requested_at": timedelta(seconds=-5)}
VIOLATIONS = [
    Violation(Event.DISPATCH, Guard.DUE, FUTURE),
    Violation(Event.DISPATCH, Guard.NOT_DISPATCHED, {"dispatched_at": timedelta(seconds=-5)}),
    Violation(Event.DISPATCH, Guard.NOT_SUSPECT, {"lost_count": 2}),
    Violation(Event.UNDISPATCH, Guard.DISPATCHED, {"dispatched_at": None}),
    Violation(Event.UNDISPATCH, Guard.PAUSE_OVER, FUTURE),
    *(Violation(one, Guard.NOT_PAUSED, spoil=it_is_paused) for one in (Event.DISPATCH, Event.CLAIM, Event.REJECT)),
    Violation(Event.CLAIM, Guard.DUE, FUTURE),
    Violation(Event.CLAIM, Guard.TYPE_OFFERED, {"type": "other"}, name="another type"),
    Violation(Event.CLAIM, Guard.TYPE_OFFERED, {"queue": "reports"}, name="another queue"),
    Violation(Event.CLAIM, Guard.WORKER_ALIVE, spoil=i_am_dead, name="dead"),
    Violation(Event.CLAIM, Guard.WORKER_ALIVE, spoil=my_lease_is_over, name="lease over"),
    Violation(Event.CLAIM, Guard.WORKER_ALIVE, spoil=i_never_registered, name="unknown worker"),
    Violation(Event.CLAIM, Guard.LONE_SUSPECT, {"lost_count": 2}),
    *(
        Violation(event, Guard.LEASE_TOKEN, {"lease_token": OTHER_TOKEN})
        for event in (Event.COMPLETE, Event.RETRY, Event.FAIL, Event.SNOOZE, Event.RELEASE, Event.CONFIRM_CANCEL)
    ),
    *(
        Violation(event, Guard.NO_CANCEL_REQUESTED, CANCELLED, instead=Event.CONFIRM_CANCEL)
        for event in (Event.RETRY, Event.FAIL, Event.SNOOZE, Event.RELEASE)
    ),
    Violation(Event.CONFIRM_CANCEL, Guard.CANCEL_REQUESTED, {"cancel_requested_at": None}),
    *(
        Violation(event, Guard.WORKER_DEAD, spoil=spoil, name=f"worker {spoil.__name__}")
        for event in (Event.RESCUE, Event.ABANDON, Event.CANCEL_LOST)
        for spoil in (dead_lives, dead_is_merely_late)
    ),
    *(
        Violation(event, Guard.NO_CANCEL_REQUESTED, CANCELLED, instead=Event.CANCEL_LOST)
        for event in (Event.RESCUE, Event.ABANDON)
    ),
    Violation(Event.RESCUE, Guard.BEARABLE_LOSS, {"lost_count": 2}, instead=Event.ABANDON),
    Violation(Event.ABANDON, Guard.FATAL_LOSS, {"lost_count": 1}, instead=Event.RESCUE),
    Violation(Event.ABANDON, Guard.FATAL_LOSS, {"worker_id": DRAINED}, instead=Event.RESCUE, name="drained"),
    Violation(Event.CANCEL_LOST, Guard.CANCEL_REQUESTED, {"cancel_requested_at": None}, instead=Event.RESCUE),
    Violation(Event.REJECT, Guard.DUE_FOR_A_LEASE, {"due_at": -LEASE + timedelta(seconds=5)}),
    Violation(Event.REJECT, Guard.TYPE_UNKNOWN, spoil=somebody_offers_it, name="offered"),
    Violation(Event.REJECT, Guard.TYPE_UNKNOWN, spoil=it_was_offered_six_days_ago, name="offered lately"),
    Violation(Event.REJECT, Guard.TYPE_UNKNOWN, spoil=nobody_serves_the_queue, name="queue not served"),
    Violation(Event.PURGE, Guard.FINISHED_BEFORE_CUTOFF, {**LONG_AGO, "finished_at": timedelta(hours=-11)}),
    Violation(
        Event.PURGE,
        Guard.KEY_NOT_FRESH,
        {
            "created_at": timedelta(hours=-23),
            "started_at": timedelta(hours=-23),
            "finished_at": timedelta(hours=-22),
            "idempotency_key": "k",
            "request_hash": HASH,
        },
    ),
]


def test_every_guard_of_every_event_is_violated_by_some_case() -> None:
    guards = {(event, guard) for event, transition in LIFECYCLE.items() for guard in transition.guards}

    assert {(violation.event, violation.guard) for violation in VIOLATIONS} == guards


@pytest.mark.parametrize("event", [event for event, transition in LIFECYCLE.items() if transition.guards])
async def test_each_guard_alone_keeps_its_event_away(
    event: Event, world: World, table: Any, subtests: pytest.Subtests
) -> None:
    for violation in (one for one in VIOLATIONS if one.event is event):
        for status in LIFECYCLE[event].sources:
            columns = {**SATISFIED.get(event, {}), **violation.columns}
            if storable(status, columns) != columns:
                continue  # a NEW row was never dispatched
            with subtests.test(violation=str(violation), status=status):
                await table.clear()
                await set_the_scene(table)
                task_id = await table.put(status, **columns)
                if violation.spoil:
                    await violation.spoil(table)
                before = await table.task(task_id)

                happened = await world.make(event, task_id)

                after = await table.task(task_id)
                assert happened is violation.instead
                if happened is None:
                    assert after == before
                else:
                    assert after["status"] == LIFECYCLE[happened].target
