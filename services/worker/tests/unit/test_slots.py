from __future__ import annotations

import asyncio
import time

from task_worker.claim.slots import UNRECORDED_MAX, Slots


async def test_a_slot_is_free_once_its_code_has_ended() -> None:
    slots = Slots(2)
    slots.take()
    slots.take()
    assert slots.free == 0

    slots.code_ended()

    assert slots.free == 1


async def test_nothing_is_free_while_too_much_is_unrecorded() -> None:
    slots = Slots(UNRECORDED_MAX + 10)
    for _ in range(UNRECORDED_MAX):
        slots.take()
        slots.code_ended()
    assert slots.free == 0

    slots.recorded()

    assert slots.free == slots.capacity


async def test_waiting_ends_with_the_first_slot_that_comes_free() -> None:
    slots = Slots(1)
    slots.take()
    asyncio.get_running_loop().call_soon(slots.code_ended)

    assert await slots.wait_free(10)


async def test_waiting_ends_at_its_deadline() -> None:
    slots = Slots(1)
    slots.take()

    assert not await slots.wait_free(0.01)


async def test_an_outcome_that_is_recorded_does_not_end_the_waiting_for_a_slot() -> None:
    slots = Slots(1)
    slots.take()
    slots.code_ended()
    slots.take()
    began = time.monotonic()
    asyncio.get_running_loop().call_soon(slots.recorded)

    assert not await slots.wait_free(0.1)
    assert time.monotonic() - began >= 0.1
