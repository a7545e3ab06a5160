from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_bus import BrokerQueue, BusUnavailableError
from task_contracts import Priority
from task_store import DatabaseUnavailableError, DispatchQuota, LiveOffers
from task_worker.leader.dispatch import Dispatch
from task_worker.leader.election import Leadership

Until = Callable[..., Awaitable[Any]]
ME = uuid4()
WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}


class FakeBus:
    def __init__(self) -> None:
        self.is_connected = True
        self.ready: dict[str, int] = {}
        self.published: list[tuple[str, list[UUID]]] = []
        self.failure: Exception | None = None
        self.looks = 0

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        del timeout
        if self.failure is not None:
            raise self.failure
        self.published.append((queue.name, list(ids)))

    async def depth(self, queue: BrokerQueue) -> int:
        self.looks += 1
        return self.ready.get(queue.name, 0)


class FakeTable:
    """Both repositories of the dispatch."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, Priority], list[UUID]] = {}
        self.rooms: list[list[DispatchQuota]] = []
        self.offers = LiveOffers({"default": ("echo",)}, {"default": 1})
        self.until_next: timedelta | None = None
        self.offers_read = 0
        self.failure: Exception | None = None

    async def mark(self, rooms: Sequence[DispatchQuota], offers: LiveOffers) -> dict[tuple[str, Priority], list[UUID]]:
        del offers
        if self.failure is not None:
            raise self.failure
        self.rooms.append(list(rooms))
        marked = {}
        for room in rooms:
            line = self.waiting.get((room.queue, room.priority), [])
            if line:
                marked[room.queue, room.priority] = line[: room.ids]
                self.waiting[room.queue, room.priority] = line[room.ids :]
        return marked

    async def next_due(self, rooms: Sequence[DispatchQuota], offers: LiveOffers) -> timedelta | None:
        del rooms, offers
        return self.until_next

    async def live_offers(self) -> LiveOffers:
        self.offers_read += 1
        return self.offers


class Bench:
    def __init__(self, queues: tuple[str, ...] = ("default",)) -> None:
        self.bus = FakeBus()
        self.table = FakeTable()
        self.leadership = Leadership()
        self.dispatch = Dispatch(self.bus, self.table, self.table, self.leadership, queues, WEIGHTS)  # type: ignore[arg-type] # what is used of each

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        self.leadership.set_leader(ME, ME)
        loop = asyncio.create_task(self.dispatch.run())
        try:
            yield
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)


def ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


async def test_what_is_due_is_marked_and_published_each_in_its_broker_queue(until: Until) -> None:
    bench = Bench()
    bench.table.waiting = {("default", priority): ids(2) for priority in Priority}
    expected = {task_id for line in bench.table.waiting.values() for task_id in line}
    async with bench.leading():
        await until(lambda: len(bench.bus.published) == 6)

    assert {name for name, _ in bench.bus.published} == {f"tasks.default.{word}" for word in ("high", "medium", "low")}
    assert {task_id for _, message in bench.bus.published for task_id in message} == expected


async def test_a_worker_that_does_not_lead_dispatches_nothing() -> None:
    bench = Bench()
    bench.table.waiting["default", Priority.HIGH] = ids(1)
    bench.leadership.set_leader(uuid4(), ME)
    loop = asyncio.create_task(bench.dispatch.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.cancel()

    assert (bench.table.rooms, bench.bus.published) == ([], [])


async def test_never_more_than_the_window_and_a_full_queue_keeps_no_other_out(until: Until) -> None:
    bench = Bench()
    bench.bus.ready["tasks.default.low"] = 200
    bench.table.waiting = {("default", Priority.LOW): ids(500), ("default", Priority.HIGH): ids(500)}
    async with bench.leading():
        await until(lambda: len(bench.table.waiting["default", Priority.HIGH]) == 0)

    assert len(bench.table.waiting["default", Priority.LOW]) == 500
    assert {room.priority for rooms in bench.table.rooms for room in rooms} == {Priority.HIGH, Priority.MEDIUM}


async def test_whoever_leads_again_looks_before_it_publishes() -> None:
    bench = Bench()
    dispatch = bench.dispatch
    for window in dispatch._windows.values():
        window.looked(0, workers=1)
    bench.leadership.set_leader(uuid4(), ME)
    waiting = asyncio.create_task(dispatch._wait_until_leading())
    await asyncio.sleep(0)

    assert not any(window.should_look for window in dispatch._windows.values())
    bench.leadership.set_leader(ME, ME)
    await waiting
    assert all(window.should_look for window in dispatch._windows.values())


async def test_a_round_is_shared_by_the_weights(until: Until) -> None:
    bench = Bench()
    bench.table.waiting = {("default", priority): ids(100) for priority in Priority}
    async with bench.leading():
        await until(lambda: bench.bus.published)

    messages = {room.priority: room.ids for room in bench.table.rooms[0]}
    assert messages == {Priority.HIGH: 60, Priority.MEDIUM: 30, Priority.LOW: 10}


def test_a_round_is_shared_in_tasks_however_many_a_message_carries() -> None:
    dispatch = Bench().dispatch
    for window in dispatch._windows.values():
        window.looked(0, workers=1)
    dispatch._windows[BrokerQueue("default", Priority.HIGH)]._size = 10

    tasks = {priority: dispatch._room_ids(BrokerQueue("default", priority)) for priority in Priority}
    assert tasks == {Priority.HIGH: 600, Priority.MEDIUM: 200, Priority.LOW: 100}  # MEDIUM: as far as its window goes


async def test_a_new_leader_looks_before_it_publishes(until: Until) -> None:
    bench = Bench()
    bench.bus.ready["tasks.default.high"] = 199
    bench.table.waiting["default", Priority.HIGH] = ids(500)
    async with bench.leading():
        await until(lambda: bench.bus.published)
        await until(lambda: bench.table.rooms)
        (room,) = [room for room in bench.table.rooms[0] if room.priority is Priority.HIGH]

    assert room.ids == 1


async def test_only_queues_with_a_live_worker_are_read(until: Until) -> None:
    bench = Bench(("default", "reports"))
    async with bench.leading():
        await until(lambda: bench.table.rooms)

    assert {room.queue for rooms in bench.table.rooms for room in rooms} == {"default"}


async def test_without_a_live_worker_it_does_not_spin(until: Until) -> None:
    bench = Bench()
    bench.table.offers = LiveOffers({"unheard-of": ("echo",)}, {"unheard-of": 1})
    pause = await bench.dispatch._round()

    assert (pause, bench.table.rooms) == (1.0, [])


async def test_a_ring_wakes_it_and_new_offers_are_read_when_told(until: Until) -> None:
    bench = Bench()
    async with bench.leading():
        await until(lambda: bench.table.rooms)
        bench.table.waiting["default", Priority.HIGH] = ids(1)
        bench.dispatch.ring()
        await until(lambda: bench.bus.published, seconds=0.5)
        assert bench.table.offers_read == 1

        bench.dispatch.offers_changed()
        await until(lambda: bench.table.offers_read == 2, seconds=0.5)


async def test_offers_are_read_again_even_where_the_signal_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_worker.leader.dispatch._OFFERS_SECONDS", 0.0)
    bench = Bench()

    await bench.dispatch._round()
    await bench.dispatch._round()

    assert bench.table.offers_read == 2


@pytest.mark.parametrize(
    ("until_next", "pause"),
    [(None, 1.0), (timedelta(seconds=0.3), 0.3), (timedelta(hours=1), 1.0), (timedelta(-1), 0.02)],
)
async def test_it_sleeps_until_the_next_task_is_due(until_next: timedelta | None, pause: float) -> None:
    bench = Bench()
    bench.table.until_next = until_next

    assert await bench.dispatch._round() == pytest.approx(pause)


async def test_while_the_broker_is_away_nothing_is_marked() -> None:
    bench = Bench()
    bench.bus.is_connected = False
    bench.table.waiting["default", Priority.HIGH] = ids(1)
    async with bench.leading():
        for _ in range(5):
            bench.dispatch.ring()
            await asyncio.sleep(0)

    assert bench.table.rooms == []


async def test_after_hints_were_lost_it_pauses_before_it_marks_more() -> None:
    bench = Bench()
    bench.bus.failure = BusUnavailableError("an alarm")
    bench.table.waiting["default", Priority.HIGH] = ids(1000)

    assert await bench.dispatch._round() == 0.5


async def test_it_outlives_an_outage_of_the_database(until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_worker.leader.dispatch._FAILED_PAUSE_SECONDS", 0.01)
    bench = Bench()
    bench.table.failure = DatabaseUnavailableError("gone")
    bench.table.waiting["default", Priority.HIGH] = ids(1)
    async with bench.leading():
        await asyncio.sleep(0)
        bench.table.failure = None
        await until(lambda: bench.bus.published)


class TestLeadership:
    def test_it_is_what_the_last_tick_said(self) -> None:
        leadership = Leadership()
        assert not leadership.is_leading
        assert leadership.ended.is_set()

        leadership.set_leader(ME, ME)
        assert leadership.is_leading
        assert not leadership.ended.is_set()

        leadership.set_leader(uuid4(), ME)
        assert not leadership.is_leading

    def test_nobody_leads_where_nobody_was_told(self) -> None:
        leadership = Leadership()

        leadership.set_leader(None, None)

        assert not leadership.is_leading
