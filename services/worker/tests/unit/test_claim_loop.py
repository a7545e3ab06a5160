from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from task_bus import BrokerQueue, MemoryHub, TaskBus, open_bus
from task_contracts import Priority
from task_store import BATCH_BYTES, Claim, Claimed, DatabaseUnavailableError, StatementEndedError
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
MAX_PAYLOAD_BYTES = 1000


class FakeClaims:
    """Returns the claims that a test has put in, or fails."""

    def __init__(self, make_claim: Callable[..., Claim]) -> None:
        self._make_claim = make_claim
        self.asked_ids: list[list[UUID]] = []
        self.asked_bytes: list[int] = []
        self.overdue_ids: list[list[UUID]] = []
        self.payload = "{}"
        self.fitting = 1000
        self.culprit: UUID | None = None
        self.suspects: list[Claim] = []
        self.held_ids: list[list[UUID]] = []
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.answer = asyncio.Event()
        self.answer.set()

    async def by_id(
        self, worker_id: UUID, ids: Sequence[UUID], lease_token: UUID, *, slots: int, max_bytes: int
    ) -> Claimed:
        del worker_id, slots
        self.asked_ids.append(list(ids))
        self.asked_bytes.append(max_bytes)
        await self._answer()
        if self.culprit in ids:
            raise StatementEndedError("too long")
        taken = ids[: self.fitting]
        made = [self._make_claim(id=task_id, lease_token=lease_token, payload_text=self.payload) for task_id in taken]
        return Claimed(made, list(ids[self.fitting :]))

    async def find_overdue(self, **wanted: Any) -> list[UUID]:
        del wanted
        self.asked.append("overdue")
        await self._answer()
        return self.overdue_ids.pop(0) if self.overdue_ids else []

    async def find_suspects(self, **wanted: Any) -> list[UUID]:
        del wanted
        self.asked.append("suspect")
        await self._answer()
        return [suspect.id for suspect in self.suspects]

    async def suspect(self, worker_id: UUID, task_id: UUID, lease_token: UUID, *, held_ids: Sequence[UUID]) -> Claimed:
        del worker_id, lease_token
        self.held_ids.append(list(held_ids))
        taken = [suspect for suspect in self.suspects if suspect.id == task_id]
        self.suspects = [suspect for suspect in self.suspects if suspect.id != task_id]
        return Claimed(taken)

    async def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure
        await self.answer.wait()


QUICK = ClaimTimings(retry_seconds=0.01, put_back_seconds=0.05)
QUICK_POLL = replace(QUICK, poll=PollTimings(interval_seconds=0.01, longest_interval_seconds=0.02))


class Bench:
    """A claiming loop with parts that a test can look into."""

    def __init__(
        self,
        bus: TaskBus,
        make_claim: Callable[..., Claim],
        *,
        capacity: int = 4,
        timings: ClaimTimings = QUICK,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        self.bus = bus
        self.claims = FakeClaims(make_claim)
        self.in_flight = InFlight(claim_seconds=6)
        self.slots = Slots(capacity, max_payload_bytes)
        self.lease = Lease(30)
        self.lease.begin(uuid4(), time.monotonic())
        self.started: list[Claim] = []
        self.released: list[Claim] = []
        self.buffer = PrefetchBuffer(bus, ("default",), WEIGHTS, capacity)
        claimer = Claimer(
            self.claims,  # type: ignore[arg-type] # the three calls that are used
            in_flight=self.in_flight,
            slots=self.slots,
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
        self.slots.take(len(claim.payload_text))
        self.in_flight.take(Attempt(claim, 60, 3))

    def end_one(self) -> None:
        ended = self.in_flight.attempts()[0]
        self.in_flight.drop(ended)
        self.slots.code_ended()
        self.slots.recorded(ended.claim.body_bytes)

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
    bench.claims.failure = DatabaseUnavailableError("gone")
    ids = [uuid4(), uuid4()]
    await bench.bus.publish(HIGH, ids, timeout=1)
    async with bench.running():
        await until(lambda: len(bench.claims.asked_ids) > 2)
        assert bench.in_flight.has_unknown_claim
        bench.claims.failure = None
        await until(lambda: len(bench.started) == 2)

    assert bench.claims.asked_ids[0] == ids
    assert bench.claims.asked_ids[1:3] == [ids[:1], ids[1:]]
    assert bench.in_flight.is_clear is False
    assert await bench.bus.depth(HIGH) == 0


async def test_with_an_unknown_outcome_at_the_end_the_message_goes_back(bench: Bench, until: Until) -> None:
    bench.claims.failure = DatabaseUnavailableError("gone")
    for ids in (3, 9):  # all ids of the first message are tried, and a part of the second
        await bench.bus.publish(HIGH, [uuid4() for _ in range(ids)], timeout=1)
    async with bench.running():
        await until(lambda: bench.claims.asked_ids)

    assert await bench.bus.depth(HIGH) == 2


async def test_a_claim_that_ends_in_any_other_way_is_unknown_too(bench: Bench) -> None:
    bench.claims.failure = ValueError("not one of the store's")
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

    assert bench.claims.asked_ids == [[other]]


async def test_what_is_claimed_while_it_is_in_flight_is_given_back(
    polling_bench: Bench, until: Until, a_claim: Callable[..., Claim]
) -> None:
    bench = polling_bench
    attempt = Attempt(a_claim(), 60, 3)
    bench.in_flight.take(attempt)
    again = a_claim(id=attempt.claim.id)
    bench.claims.suspects.append(again)
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
    bench.claims.suspects.append(suspect)
    bench.claims.overdue_ids = [[uuid4() for _ in range(3)]]
    bench.poll_now()
    async with bench.running():
        await until(lambda: len(bench.started) == 4)

    assert bench.started[0] is suspect
    assert bench.claims.asked[:2] == ["suspect", "overdue"]


async def test_claim_of_a_suspect_names_all_that_this_worker_holds(
    polling_bench: Bench, until: Until, a_claim: Callable[..., Claim]
) -> None:
    bench = polling_bench
    bench.in_flight.take(Attempt(held := a_claim(), 60, 3))
    bench.claims.suspects += [first := a_claim(), a_claim()]
    bench.poll_now()
    async with bench.running():
        await until(lambda: len(bench.claims.held_ids) == 2)

    assert bench.claims.held_ids == [[held.id], [held.id, first.id]]


async def test_no_suspect_is_claimed_while_the_outcome_of_a_claim_is_unknown(
    polling_bench: Bench, until: Until
) -> None:
    bench = polling_bench
    bench.in_flight.claim_begins(token := uuid4())
    bench.in_flight.claim_unanswered(token, [])
    bench.poll_now()
    async with bench.running():
        await until(lambda: len(bench.claims.asked) > 2)

    assert set(bench.claims.asked) == {"overdue"}


@pytest.mark.parametrize(("delivered", "level"), [(0, "info"), (1, "debug")])
async def test_what_the_poll_claims_is_told_unless_there_is_a_backlog(
    bus: TaskBus, a_claim: Callable[..., Claim], until: Until, delivered: int, level: str
) -> None:
    bench = Bench(bus, a_claim)
    bench.claims.overdue_ids = [[uuid4()]]
    bench.claims.answer.clear()
    bench.poll_now()
    with capture_logs() as logs:
        async with bench.running():
            await until(lambda: bench.claims.asked == ["suspect"])
            bench.claims.answer.set()
            bench.claims.answer.clear()
            await until(lambda: bench.claims.asked == ["suspect", "overdue"])
            if delivered:
                await bus.publish(HIGH, [uuid4()], timeout=1)
            await until(lambda: bench.buffer.has_deliveries == bool(delivered))
            bench.claims.answer.set()
            await until(lambda: len(bench.started) == 1 + delivered)

    assert [log["log_level"] for log in logs if log["event"] == "claimed_by_poll"] == [level]


async def test_the_poll_comes_again_at_once_while_it_finds_any(
    bench: Bench, until: Until, a_claim: Callable[..., Claim]
) -> None:
    bench.claims.overdue_ids = [[uuid4()], [uuid4()], [uuid4()]]
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

    assert len([asked for asked in bench.claims.asked if asked == "overdue"]) == 4


async def test_the_poll_lets_the_first_delivery_to_new_consumers_go_first(
    bench: Bench, until: Until, a_claim: Callable[..., Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.claims.overdue_ids = [[uuid4()]]
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

    assert bench.claims.asked_ids == []
    assert await bench.bus.depth(HIGH) == 1


async def test_stopping_waits_for_the_claim_under_way(bench: Bench, until: Until) -> None:
    bench.claims.answer.clear()
    await bench.bus.publish(HIGH, [uuid4()], timeout=1)
    async with bench.running():
        await until(lambda: bench.claims.asked_ids)
        stopping = asyncio.create_task(bench.claim_loop.stop(5))
        await asyncio.sleep(0)
        assert not stopping.done()
        bench.claims.answer.set()
        await stopping

    assert len(bench.started) == 1


async def test_ids_that_were_left_for_size_are_asked_for_at_once_before_others(bench: Bench, until: Until) -> None:
    ids = [uuid4() for _ in range(4)]
    await bench.bus.publish(HIGH, ids, timeout=1)
    bench.claims.fitting = 3
    async with bench.running():
        await until(lambda: len(bench.started) == 4)

    assert bench.claims.asked_ids == [ids, ids[3:]]
    assert bench.claims.asked_bytes == [MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES - 3 * len("{}")]
    assert await bench.bus.depth(HIGH) == 0


async def test_a_claim_is_never_larger_than_a_batch(bus: TaskBus, a_claim: Callable[..., Claim], until: Until) -> None:
    bench = Bench(bus, a_claim, max_payload_bytes=2 * BATCH_BYTES)
    await bus.publish(HIGH, [uuid4()], timeout=1)
    async with bench.running():
        await until(lambda: bench.started)

    assert bench.claims.asked_bytes == [BATCH_BYTES]


async def test_nothing_is_claimed_while_the_payloads_in_flight_are_too_large(bench: Bench, until: Until) -> None:
    bench.claims.payload, bench.claims.fitting = '"' + "x" * MAX_PAYLOAD_BYTES + '"', 1
    await bench.bus.publish(HIGH, [uuid4(), uuid4()], timeout=1)
    async with bench.running():
        await until(lambda: bench.started)
        await asyncio.sleep(0.02)
        while_full = len(bench.started)
        bench.end_one()
        await until(lambda: len(bench.started) == 2)

    assert while_full == 1


async def test_a_task_that_no_claim_can_take_keeps_none_of_its_neighbours_waiting(
    bus: TaskBus, a_claim: Callable[..., Claim], until: Until
) -> None:
    bench = Bench(bus, a_claim, capacity=50)
    ids = [uuid4() for _ in range(20)]
    bench.claims.culprit = ids[7]
    await bus.publish(HIGH, ids, timeout=1)
    async with bench.running():
        await until(lambda: len(bench.started) == 19)

    sizes = [len(asked) for asked in bench.claims.asked_ids if ids[7] in asked]
    assert sizes[:5] == [20, 10, 5, 3, 1]
    assert {claim.id for claim in bench.started} == set(ids) - {ids[7]}


async def test_what_is_delivered_meanwhile_takes_turns_with_the_halves(
    bus: TaskBus, a_claim: Callable[..., Claim], until: Until
) -> None:
    bench = Bench(bus, a_claim, capacity=50)
    bench.claims.failure = StatementEndedError("too long")
    heavy, light = [uuid4() for _ in range(8)], uuid4()
    await bus.publish(HIGH, heavy, timeout=1)
    async with bench.running():
        await until(lambda: len(bench.claims.asked_ids) == 2)
        await bus.publish(HIGH, [light], timeout=1)
        await until(lambda: [light] in bench.claims.asked_ids)

    assert bench.claims.asked_ids.index([light]) <= 5


async def test_what_the_poll_found_is_claimed_in_halves_after_no_answer(bench: Bench, until: Until) -> None:
    ids = [uuid4() for _ in range(8)]
    bench.claims.overdue_ids, bench.claims.culprit = [ids], ids[0]
    bench.poll_now()
    async with bench.running():
        while len(bench.started) < 7:
            await until(lambda: bench.slots.free < 4 or len(bench.started) == 7)
            bench.end_one()

    assert {claim.id for claim in bench.started} == set(ids[1:])
    assert [len(asked) for asked in bench.claims.asked_ids[:2]] == [8, 4]


async def test_deliveries_are_acked_and_go_on_coming_beside_a_task_that_every_claim_fails_for(
    bus: TaskBus, a_claim: Callable[..., Claim], until: Until
) -> None:
    bench = Bench(bus, a_claim, capacity=100)
    culprit = bench.claims.culprit = uuid4()
    await bus.publish(HIGH, [culprit], timeout=1)
    async with bench.running():
        await until(lambda: len(bench.claims.asked_ids) > 1)
        for _ in range(60):
            await bus.publish(HIGH, [uuid4()], timeout=1)
        await until(lambda: len(bench.started) == 60)
