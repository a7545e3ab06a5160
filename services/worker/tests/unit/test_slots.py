from __future__ import annotations

import asyncio
import time

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
