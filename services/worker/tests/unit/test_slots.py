from __future__ import annotations

import asyncio
import time

from task_contracts import BackOff
from task_worker.claim.slots import UNRECORDED_MAX, Slots

MEGABYTE = 1 << 20


async def test_a_slot_is_free_once_its_code_has_ended() -> None:
    slots = Slots(2, MEGABYTE)
    slots.take(2)
    slots.take(2)
    assert slots.free == 0

    slots.code_ended()

    assert slots.free == 1


async def test_nothing_is_free_while_too_much_is_unrecorded() -> None:
    slots = Slots(UNRECORDED_MAX + 10, MEGABYTE)
    for _ in range(UNRECORDED_MAX):
        slots.take(2)
        slots.code_ended()
    assert slots.free == 0

    slots.recorded(2)

    assert slots.free == slots.capacity


async def test_waiting_ends_with_the_first_slot_that_comes_free() -> None:
    slots = Slots(1, MEGABYTE)
    slots.take(2)
    asyncio.get_running_loop().call_soon(slots.code_ended)

    assert await slots.wait_free(10)


async def test_waiting_ends_at_its_deadline() -> None:
    slots = Slots(1, MEGABYTE)
    slots.take(2)

    assert not await slots.wait_free(0.01)


async def test_an_outcome_that_is_recorded_does_not_end_the_waiting_for_a_slot() -> None:
    slots = Slots(1, MEGABYTE)
    slots.take(2)
    slots.code_ended()
    slots.take(2)
    began = time.monotonic()
    asyncio.get_running_loop().call_soon(slots.recorded, 2)

    assert not await slots.wait_free(0.1)
    assert time.monotonic() - began >= 0.1


async def test_endings_that_wait_to_be_recorded_count_as_payloads_do() -> None:
    slots = Slots(10, MEGABYTE)
    slots.take(2)
    slots.code_ended()
    slots.hold(MEGABYTE)
    while_unrecorded = slots.free

    slots.recorded(2 + MEGABYTE)

    assert (while_unrecorded, slots.free) == (0, 10)
    assert slots.free_payload_bytes == MEGABYTE


async def test_nothing_is_free_while_the_payloads_in_flight_are_too_large_together() -> None:
    slots = Slots(10, MEGABYTE)
    slots.take(MEGABYTE - 1)
    with_room_for_one = (slots.free, slots.free_payload_bytes)
    slots.take(5 * MEGABYTE)
    assert slots.free == 0

    slots.code_ended()
    while_unrecorded = slots.free
    slots.recorded(5 * MEGABYTE)

    assert (with_room_for_one, while_unrecorded, slots.free) == ((9, 1), 0, 9)


class Sick:
    """Slots of a worker whose clock the test moves."""

    def __init__(self, capacity: int = 10) -> None:
        self.now = 100.0
        self.slots = Slots(capacity, MEGABYTE, BackOff(first_seconds=5, longest_seconds=60), clock=lambda: self.now)

    def fail(self) -> float | None:
        """Take a slot for code that cannot be begun."""
        self.slots.take(0)
        self.slots.code_ended()
        self.slots.recorded(0)
        return self.slots.not_begun()


def test_a_worker_that_cannot_begin_code_claims_nothing_then_one_task_at_a_time_then_as_before() -> None:
    sick = Sick()
    assert sick.fail() == 5

    free = []
    for seconds in (0.0, 4.9, 0.2, 4.8, 0.2):
        sick.now += seconds
        free.append(sick.slots.free)

    assert free == [0, 0, 1, 1, 10]


def test_those_that_failed_together_count_once() -> None:
    sick = Sick()

    assert [sick.fail() for _ in range(3)] == [5, None, None]


def test_it_rests_longer_each_time_it_fails_again_and_as_at_first_once_it_has_begun_code_for_long() -> None:
    sick, rests = Sick(), []
    for _ in range(6):
        rests.append(rest := sick.fail())
        assert rest is not None
        sick.now += rest

    sick.now += 61

    assert rests == [5, 10, 20, 40, 60, 60]
    assert sick.fail() == 5


async def test_waiting_for_a_slot_ends_with_the_rest() -> None:
    slots = Slots(1, MEGABYTE, BackOff(first_seconds=0.05, longest_seconds=1))
    slots.not_begun()

    assert not slots.free
    assert await slots.wait_free(10)
