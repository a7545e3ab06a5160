from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_bus import BrokerQueue, MemoryHub, TaskBus, open_bus
from task_contracts import Priority
from task_store import Claim, DatabaseUnavailableError
from task_worker.claim.claim_loop import ClaimLoop
from task_worker.claim.claimer import Claimer
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots
from task_worker.lease.in_flight import Attempt, InFlight
from task_worker.lease.lease import Lease
from task_worker.timings import ClaimTimings, PollTimings

WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}
HIGH = BrokerQueue("default", Priority.HIGH)
Until = Callable[..., Awaitable[Any]]


class FakeAttempts:
    """Returns the claims that a test has put in, or fails."""

    def __init__(self, make_claim: Callable[..., Claim]) -> None:
        self._make_claim = make_claim
        self.by_id: list[list[UUID]] = []
        self.overdue: list[list[Claim]] = []
        self.suspects: list[Claim] = []
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.answer = asyncio.Event()
        self.answer.set()

    async def claim(self, worker_id: UUID, ids: Sequence[UUID], lease_token: UUID) -> list[Claim]:
        del worker_id
        self.by_id.append(list(ids))
        await self._answer()
        return [self._make_claim(id=task_id, lease_token=lease_token) for task_id in ids]

    async def claim_overdue(self, worker_id: UUID, lease_token: UUID, **wanted: Any) -> list[Claim]:
        del worker_id, lease_token, wanted
        self.asked.append("overdue")
        await self._answer()
        return self.overdue.pop(0) if self.overdue else []

    async def claim_suspect(self, worker_id: UUID, lease_token: UUID, **wanted: Any) -> Claim | None:
        del worker_id, lease_token, wanted
        self.asked.append("suspect")
        await self._answer()
        return self.suspects.pop(0) if self.suspects else None

    async def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure
        await self.answer.wait()


QUICK = ClaimTimings(retry_seconds=0.01, put_back_seconds=0.05)
QUICK_POLL = replace(QUICK, poll=PollTimings(interval_seconds=0.01, longest_interval_seconds=0.02))


class Bench:
    """A claiming loop with parts that a test can look into."""

    def __init__(
        self, bus: TaskBus, make_claim: Callable[..., Claim], *, capacity: int = 4, timings: ClaimTimings = QUICK
    ) -> None:
        self.bus = bus
        self.attempts = FakeAttempts(make_claim)
        self.in_flight = InFlight(claim_seconds=6)
        self.slots = Slots(capacity)
        self.lease = Lease(30)
        self.lease.begin(uuid4(), time.monotonic())
        self.started: list[Claim] = []
        self.released: list[Claim] = []
        self.buffer = PrefetchBuffer(bus, ("default",), WEIGHTS, capacity)
        claimer = Claimer(
            self.attempts,  # type: ignore[arg-type] # the three calls that are used
            WEIGHTS,
            in_flight=self.in_flight,
            lease=self.lease,
            start=self._start,
            release=self.released.append,
        )
        self.claim_loop = ClaimLoop(claimer, self.buffer, self.slots, self.lease, timings)

    def poll_now(self) -> None:
        """Make the first poll due."""
        self.claim_loop._schedule._next_at = 0

    def _start(self, claim: Claim) -> None:
        self.started.append(claim)
        self.slots.take()
        self.in_flight.take(Attempt(claim, 60, 3))

    def end_one(self) -> None:
        self.in_flight.drop(self.in_flight.attempts()[0])
        self.slots.code_ended()
        self.slots.recorded()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loop = asyncio.create_task(self.claim_loop.run())
        try:
            yield
            await self.claim_loop.stop(5)
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)


@pytest.fixture
async def bus() -> AsyncIterator[TaskBus]:
    async with open_bus("memory://", queues=("default",), name="test", hub=MemoryHub()) as bus:
        yield bus


@pytest.fixture
def bench(bus: TaskBus, a_claim: Callable[..., Claim]) -> Bench:
    return Bench(bus, a_claim)


@pytest.fixture
def polling_bench(bus: TaskBus, a_claim: Callable[..., Claim]) -> Bench:
    """A bench whose polls follow each other at once."""
    return Bench(bus, a_claim, timings=QUICK_POLL)


async def test_ids_are_claimed_as_slots_come_free(bench: Bench, until: Until) -> None:
    ids = [uuid4() for _ in range(6)]
    await bench.bus.publish(HIGH, ids, timeout=1)
    async with bench.running():
        await until(lambda: len(bench.started) == 4)
        bench.end_one()
        await until(lambda: len(bench.started) == 5)

    assert [claim.id for claim in bench.started] == ids[:5]


async def test_without_a_slot_for_a_second_the_message_goes_back_and_the_consumers_end(
    bench: Bench, until: Until
) -> None:
    for _ in range(3):
        await bench.bus.publish(HIGH, [uuid4() for _ in range(4)], timeout=1)
    async with bench.running():
        await until(lambda: len(bench.started) == 4)
        await until(lambda: bench.bus.depth(HIGH))
        assert await bench.bus.depth(HIGH) == 2
        bench.end_one()
        await until(lambda: len(bench.started) == 5)


async def test_an_unknown_outcome_is_tried_again_and_the_message_stays_unacked(bench: Bench, until: Until) -> None:
    bench.attempts.failure = DatabaseUnavailableError("gone")
    ids = [uuid4(), uuid4()]
    await bench.bus.publish(HIGH, ids, timeout=1)
    async with bench.running():
        await until(lambda: len(bench.attempts.by_id) > 2)
        assert bench.in_flight.has_unknown_claim
        bench.attempts.failure = None
        await until(lambda: len(bench.started) == 2)

    assert bench.attempts.by_id[0] == bench.attempts.by_id[-1] == ids
    assert bench.in_flight.is_clear is False
    assert await bench.bus.depth(HIGH) == 0


async def test_with_an_unknown_outcome_at_the_end_the_message_goes_back(bench: Bench, until: Until) -> None:
    bench.attempts.failure = DatabaseUnavailableError("gone")
    for ids in (3, 9):  # all ids of the first message are tried, and a part of the second
        await bench.bus.publish(HIGH, [uuid4() for _ in range(ids)], timeout=1)
    async with bench.running():
        await until(lambda: bench.attempts.by_id)

    assert await bench.bus.depth(HIGH) == 2


async def test_a_claim_that_ends_in_any_other_way_is_unknown_too(bench: Bench) -> None:
    bench.attempts.failure = ValueError("not one of the store's")
    await bench.bus.publish(HIGH, [uuid4()], timeout=1)

    with pytest.raises(ValueError, match="not one"):
        await bench.claim_loop.run()

    assert bench.in_flight.has_unknown_claim
    assert bench.in_flight.is_clear


async def test_an_id_in_flight_is_not_claimed_again(bench: Bench, until: Until, a_claim: Callable[..., Claim]) -> None:
    attempt = Attempt(a_claim(), 60, 3)
    bench.in_flight.take(attempt)
    other = uuid4()
    await bench.bus.publish(HIGH, [attempt.claim.id, other], timeout=1)
    async with bench.running():
        await until(lambda: bench.started)

    assert bench.attempts.by_id == [[other]]


async def test_what_the_poll_claims_while_it_is_in_flight_is_given_back(
    polling_bench: Bench, until: Until, a_claim: Callable[..., Claim]
) -> None:
    bench = polling_bench
    attempt = Attempt(a_claim(), 60, 3)
    bench.in_flight.take(attempt)
    again = a_claim(id=attempt.claim.id)
    bench.attempts.overdue.append([again])
    bench.poll_now()
    async with bench.running():
        await until(lambda: bench.released)

    assert (bench.released, bench.started) == ([again], [])
    assert bench.in_flight.attempts() == [attempt]


async def test_suspects_come_first_in_the_poll_so_that_a_backlog_cannot_hide_them(
    polling_bench: Bench, until: Until, a_claim: Callable[..., Claim]
) -> None:
    bench = polling_bench
    suspect = a_claim()
    bench.attempts.suspects.append(suspect)
    bench.attempts.overdue = [[a_claim() for _ in range(3)]]
    bench.poll_now()
    async with bench.running():
        await until(lambda: len(bench.started) == 4)

    assert bench.started[0] is suspect
    assert bench.attempts.asked[:2] == ["suspect", "overdue"]


async def test_no_suspect_is_claimed_while_the_outcome_of_a_claim_is_unknown(
    polling_bench: Bench, until: Until
) -> None:
    bench = polling_bench
    bench.in_flight.claim_begins(token := uuid4())
    bench.in_flight.claim_unanswered(token)
    bench.poll_now()
    async with bench.running():
        await until(lambda: len(bench.attempts.asked) > 2)

    assert set(bench.attempts.asked) == {"overdue"}


async def test_the_poll_comes_again_at_once_while_it_finds_any(
    bench: Bench, until: Until, a_claim: Callable[..., Claim]
) -> None:
    bench.attempts.overdue = [[a_claim()], [a_claim()], [a_claim()]]
    bench.poll_now()
    began = time.monotonic()
    async with bench.running():
        await until(lambda: len(bench.started) == 3)

    assert time.monotonic() - began < 1


async def test_one_pick_in_ten_goes_to_the_poll_when_busy(
    bus: TaskBus, a_claim: Callable[..., Claim], until: Until
) -> None:
    bench = Bench(bus, a_claim, capacity=1)
    await bus.publish(HIGH, [uuid4() for _ in range(50)], timeout=1)
    async with bench.running():
        for picks in range(40):
            await until(lambda picks=picks: len(bench.started) > picks)
            bench.end_one()

    assert len([asked for asked in bench.attempts.asked if asked == "overdue"]) == 4


async def test_the_poll_lets_the_first_delivery_to_new_consumers_go_first(
    bench: Bench, until: Until, a_claim: Callable[..., Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.attempts.overdue = [[a_claim()]]
    bench.poll_now()
    task_id = uuid4()
    await bench.bus.publish(HIGH, [task_id], timeout=1)
    take_in, loop = bench.buffer._take_in, asyncio.get_running_loop()
    # As over a network, where the first delivery of a consumer takes a round trip.
    monkeypatch.setattr(bench.buffer, "_take_in", lambda delivery: loop.call_later(0.01, take_in, delivery))
    async with bench.running():
        await until(lambda: len(bench.started) == 2)

    assert bench.started[0].id == task_id


async def test_nothing_is_claimed_without_a_lease(bench: Bench, until: Until) -> None:
    bench.lease.end()
    await bench.bus.publish(HIGH, [uuid4()], timeout=1)
    async with bench.running():
        await asyncio.sleep(0)

    assert bench.attempts.by_id == []
    assert await bench.bus.depth(HIGH) == 1


async def test_stopping_waits_for_the_claim_under_way(bench: Bench, until: Until) -> None:
    bench.attempts.answer.clear()
    await bench.bus.publish(HIGH, [uuid4()], timeout=1)
    async with bench.running():
        await until(lambda: bench.attempts.by_id)
        stopping = asyncio.create_task(bench.claim_loop.stop(5))
        await asyncio.sleep(0)
        assert not stopping.done()
        bench.attempts.answer.set()
        await stopping

    assert len(bench.started) == 1
