from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from task_bus import BrokerQueue, BusUnavailableError
from task_contracts import Priority, Signal, SignalKind
from task_store import DatabaseUnavailableError, DispatchQuota, LiveOffers, MarkedTask
from task_worker.leader.broker_queues import BrokerQueues
from task_worker.leader.dispatch import Dispatch
from task_worker.leader.election import Leadership
from task_worker.leader.queue_window import QueueWindows
from task_worker.timings import DispatchTimings

Until = Callable[..., Awaitable[Any]]
ME = uuid4()
WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}


class FakeBus:
    def __init__(self) -> None:
        self.is_connected = True
        self.ready: dict[str, int] = {}
        self.published: list[tuple[str, list[UUID]]] = []
        self.failure: Exception | None = None
        self.silent: set[str] = set()
        """Broker queues whose depth gets no answer."""
        self.looks = 0

    async def publish(self, queue: BrokerQueue, ids: Sequence[UUID], *, timeout: float) -> None:
        del timeout
        if self.failure is not None:
            raise self.failure
        self.published.append((queue.name, list(ids)))

    async def depth(self, queue: BrokerQueue) -> int:
        self.looks += 1
        if queue.name in self.silent:
            raise BusUnavailableError("the broker did not answer")
        return self.ready.get(queue.name, 0)


class FakeTable:
    """Stands for both repositories that the dispatch uses."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, Priority], list[UUID]] = {}
        self.quotas: list[list[DispatchQuota]] = []
        self.offers = LiveOffers({"default": ("echo",)}, {"default": 1})
        self.until_next: timedelta | None = None
        self.asked: list[str] = []
        """Which of both statements ran, in order."""
        self.offers_read = 0
        self.failure: Exception | None = None
        self.payload_bytes = 2
        self.resets = 0
        self.is_pause_over = False

    def reset(self) -> None:
        self.resets += 1

    async def mark(
        self, quotas: Sequence[DispatchQuota], offers: LiveOffers
    ) -> dict[tuple[str, Priority], list[MarkedTask]]:
        del offers
        if self.failure is not None:
            raise self.failure
        self.asked.append("mark")
        self.quotas.append(list(quotas))
        marked = {}
        for quota in quotas:
            waiting = self.waiting.get((quota.queue, quota.priority), [])
            if waiting:
                ids = waiting[: quota.ids]
                marked[quota.queue, quota.priority] = [MarkedTask(task_id, self.payload_bytes) for task_id in ids]
                self.waiting[quota.queue, quota.priority] = waiting[quota.ids :]
        return marked

    async def next_due(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> timedelta | None:
        del quotas, offers
        self.asked.append("next_due")
        return self.until_next

    async def live_offers(self) -> LiveOffers:
        self.offers_read += 1
        return self.offers


class FakeListening:
    async def cancel(self) -> None:
        pass


class FakeSignals:
    """Passes signals to the listener."""

    def __init__(self) -> None:
        self.callback: Callable[[Signal], None] | None = None

    async def listen(self, kinds: Collection[SignalKind], callback: Callable[[Signal], None]) -> FakeListening:
        assert kinds == {SignalKind.DUE}
        self.callback = callback
        return FakeListening()

    def send(self, queue: str | None, *named: UUID) -> None:
        assert self.callback is not None
        self.callback(Signal(kind=SignalKind.DUE, queue=queue, ids=named))


class Bench:
    def __init__(self, queues: tuple[str, ...] = ("default",), timings: DispatchTimings | None = None) -> None:
        self.bus = FakeBus()
        self.signals = FakeSignals()
        self.table = FakeTable()
        self.leadership = Leadership()
        self.windows = QueueWindows(queues, WEIGHTS)
        self.taken: list[tuple[str, tuple[UUID, ...], int]] = []
        self.takes = True
        self.dispatch = Dispatch(
            BrokerQueues(self.bus, self.windows, 5),  # type: ignore[arg-type] # what is used of each
            self.signals,  # type: ignore[arg-type]
            self.table,  # type: ignore[arg-type]
            self.table,  # type: ignore[arg-type]
            self.leadership,
            timings or DispatchTimings(),
            take=self._take,
        )

    def _take(self, queue: str, named: Sequence[UUID], workers: int) -> bool:
        self.taken.append((queue, tuple(named), workers))
        return bool(named) and self.takes

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
    expected = {task_id for waiting in bench.table.waiting.values() for task_id in waiting}
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

    assert (bench.table.quotas, bench.bus.published) == ([], [])


async def test_never_more_than_the_window_and_a_full_queue_keeps_no_other_out(until: Until) -> None:
    bench = Bench()
    bench.bus.ready["tasks.default.low"] = 200
    bench.table.waiting = {("default", Priority.LOW): ids(500), ("default", Priority.HIGH): ids(500)}
    async with bench.leading():
        await until(lambda: len(bench.table.waiting["default", Priority.HIGH]) == 0)

    assert len(bench.table.waiting["default", Priority.LOW]) == 500
    assert {quota.priority for quotas in bench.table.quotas for quota in quotas} == {Priority.HIGH, Priority.MEDIUM}


async def test_a_worker_that_leads_again_looks_before_it_publishes(until: Until) -> None:
    bench = Bench()
    async with bench.leading():
        await until(lambda: bench.table.quotas)
        looks = bench.bus.looks
        bench.leadership.set_leader(uuid4(), ME)
        bench.signals.send("default")
        await until(lambda: not bench.leadership.is_leading)
        await asyncio.sleep(0)
        bench.leadership.set_leader(ME, ME)
        await until(lambda: len(bench.table.quotas) > 1)

    assert bench.bus.looks == looks + 3


async def test_a_round_is_shared_by_the_weights(until: Until) -> None:
    bench = Bench()
    bench.table.waiting = {("default", priority): ids(100) for priority in Priority}
    async with bench.leading():
        await until(lambda: bench.bus.published)

    tasks = {quota.priority: quota.ids for quota in bench.table.quotas[0]}
    assert tasks == {Priority.HIGH: 60, Priority.MEDIUM: 30, Priority.LOW: 10}


def test_a_round_is_shared_in_tasks_however_many_a_message_carries() -> None:
    windows = QueueWindows(("default",), WEIGHTS)
    for priority in Priority:
        windows[BrokerQueue("default", priority)].looked(0, workers=1)
    windows[BrokerQueue("default", Priority.HIGH)]._size = 10

    tasks = {quota.priority: quota.ids for quota in windows.quotas(["default"])}
    assert tasks == {Priority.HIGH: 600, Priority.MEDIUM: 200, Priority.LOW: 100}  # MEDIUM: up to its window


async def test_a_new_leader_looks_before_it_publishes(until: Until) -> None:
    bench = Bench()
    bench.bus.ready["tasks.default.high"] = 199
    bench.table.waiting["default", Priority.HIGH] = ids(500)
    async with bench.leading():
        await until(lambda: bench.bus.published)
        await until(lambda: bench.table.quotas)
        (quota,) = [quota for quota in bench.table.quotas[0] if quota.priority is Priority.HIGH]

    assert quota.ids == 1


async def test_only_queues_with_a_live_worker_are_read(until: Until) -> None:
    bench = Bench(("default", "reports"))
    async with bench.leading():
        await until(lambda: bench.table.quotas)

    assert {quota.queue for quotas in bench.table.quotas for quota in quotas} == {"default"}


async def test_without_a_live_worker_it_does_not_spin(until: Until) -> None:
    bench = Bench()
    bench.table.offers = LiveOffers({"unheard-of": ("echo",)}, {"unheard-of": 1})
    pause = await bench.dispatch._round()

    assert (pause, bench.table.quotas) == (1.0, [])


async def test_a_signal_wakes_it_and_new_offers_are_read_when_it_names_no_queue(until: Until) -> None:
    bench = Bench()
    async with bench.leading():
        await until(lambda: bench.table.quotas)
        bench.table.waiting["default", Priority.HIGH] = ids(1)
        bench.signals.send("default")
        await until(lambda: bench.bus.published, seconds=0.5)
        assert bench.table.offers_read == 1

        bench.signals.send(None)
        await until(lambda: bench.table.offers_read == 2, seconds=0.5)


async def test_offers_are_read_again_even_where_the_signal_was_lost() -> None:
    bench = Bench(timings=DispatchTimings(offers_seconds=0.0))

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


@pytest.mark.parametrize("until_next", [None, timedelta(hours=1)])
async def test_while_nothing_is_to_do_a_look_is_one_statement(until: Until, until_next: timedelta | None) -> None:
    bench = Bench(timings=DispatchTimings(idle_seconds=0.002, locked_seconds=0.001))
    bench.table.until_next = until_next
    async with bench.leading():
        await until(lambda: len(bench.table.asked) >= 5)

    assert bench.table.asked[:5] == ["mark", *["next_due"] * 4]


async def test_a_task_whose_wake_up_was_lost_is_marked_by_the_next_look() -> None:
    bench = Bench()
    bench.table.waiting["default", Priority.HIGH] = ids(1)
    bench.table.until_next = timedelta(0)

    assert await bench.dispatch._round(is_idle=True) == 0.0
    assert bench.table.asked == ["next_due", "mark"]
    assert len(bench.bus.published) == 1


async def test_a_wake_up_marks_without_asking_first(until: Until) -> None:
    bench = Bench()
    async with bench.leading():
        await until(lambda: len(bench.table.asked) == 2)
        bench.table.waiting["default", Priority.HIGH] = ids(1)
        bench.signals.send("default")
        await until(lambda: bench.bus.published, seconds=0.5)

    assert bench.table.asked[:3] == ["mark", "next_due", "mark"]


async def test_what_was_known_to_become_due_is_marked_without_asking_first(until: Until) -> None:
    bench = Bench()
    bench.table.until_next = timedelta(seconds=0.03)
    async with bench.leading():
        await until(lambda: len(bench.table.asked) >= 4)

    assert bench.table.asked[:4] == ["mark", "next_due"] * 2


async def test_while_the_broker_is_away_nothing_is_marked() -> None:
    bench = Bench()
    bench.bus.is_connected = False
    bench.table.waiting["default", Priority.HIGH] = ids(1)
    async with bench.leading():
        for _ in range(5):
            await asyncio.sleep(0)
            bench.signals.send("default")

    assert bench.table.quotas == []


async def test_after_messages_were_lost_it_pauses_before_it_marks_more() -> None:
    bench = Bench()
    bench.bus.failure = BusUnavailableError("an alarm")
    bench.table.waiting["default", Priority.HIGH] = ids(1000)

    assert await bench.dispatch._round() == 0.5


async def test_a_broker_queue_whose_depth_gets_no_answer_keeps_no_other_out(until: Until) -> None:
    bench = Bench()
    bench.bus.silent = {"tasks.default.high"}
    bench.table.waiting = {("default", Priority.HIGH): ids(5), ("default", Priority.LOW): ids(5)}
    with capture_logs() as logs:
        async with bench.leading():
            await until(lambda: len(bench.bus.published) == 5)

    assert {name for name, _ in bench.bus.published} == {"tasks.default.low"}
    assert len(bench.table.waiting["default", Priority.HIGH]) == 5
    assert [line["broker_queue"] for line in logs if line["event"] == "depth_unanswered"] == ["tasks.default.high"]


async def test_it_survives_an_outage_of_the_database(until: Until) -> None:
    bench = Bench(timings=DispatchTimings(failed_seconds=0.01))
    bench.table.failure = DatabaseUnavailableError("gone")
    bench.table.waiting["default", Priority.HIGH] = ids(1)
    async with bench.leading():
        await asyncio.sleep(0)
        bench.table.failure = None
        await until(lambda: bench.bus.published)


class TestLeadership:
    def test_it_is_what_the_last_election_said(self) -> None:
        leadership = Leadership()
        assert not leadership.is_leading

        leadership.set_leader(ME, ME)
        assert leadership.is_leading

        leadership.set_leader(uuid4(), ME)
        assert not leadership.is_leading

    def test_it_does_not_lead_if_the_database_did_not_answer(self) -> None:
        leadership = Leadership()

        leadership.set_leader(None, None)

        assert not leadership.is_leading

    def test_a_leader_that_is_not_known_is_logged_as_none(self) -> None:
        leadership = Leadership()
        with capture_logs() as logs:
            leadership.set_leader(ME, ME)
            leadership.set_leader(None, ME)

        assert [line["leader_id"] for line in logs] == [str(ME), None]


async def test_what_this_worker_takes_for_itself_is_looked_at_only_a_moment_later(until: Until) -> None:
    bench = Bench(timings=DispatchTimings(taken_seconds=0.2, idle_seconds=60))
    (task_id,) = ids(1)
    async with bench.leading():
        await until(lambda: bench.table.asked == ["mark", "next_due"])
        bench.signals.send("default", task_id)
        await asyncio.sleep(0.05)
        assert bench.table.asked == ["mark", "next_due"]

        await until(lambda: bench.table.asked[2:] == ["mark", "next_due"])

    assert bench.taken == [("default", (task_id,), 1)]


async def test_what_this_worker_does_not_take_is_dispatched_at_once(until: Until) -> None:
    bench = Bench(timings=DispatchTimings(taken_seconds=60, idle_seconds=60))
    bench.takes = False
    async with bench.leading():
        await until(lambda: bench.table.asked == ["mark", "next_due"])
        bench.signals.send("default", *ids(1))
        await until(lambda: len(bench.table.asked) == 4)

        bench.takes = True
        bench.signals.send("default")
        await until(lambda: len(bench.table.asked) == 6)
