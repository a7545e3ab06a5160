from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_bus import BrokerQueue, MemoryHub, TaskBus, open_bus
from task_contracts import Priority
from task_worker.claim.prefetch_buffer import PrefetchBuffer

QUEUES = ("default", "reports", "mails")
WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}
Until = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[list[UUID]]]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
async def bus(hub: MemoryHub) -> AsyncIterator[TaskBus]:
    async with open_bus("memory://", queues=QUEUES, name="test", hub=hub) as bus:
        yield bus


@pytest.fixture
def buffer(bus: TaskBus) -> PrefetchBuffer:
    return PrefetchBuffer(bus, QUEUES, WEIGHTS, capacity=50)


@pytest.fixture
def publish(bus: TaskBus) -> Publish:
    """Publish messages of so many ids each, and return all ids."""

    async def send(queue: str, priority: Priority, *sizes: int) -> list[UUID]:
        messages = [[uuid4() for _ in range(size)] for size in sizes]
        for ids in messages:
            await bus.publish(BrokerQueue(queue, priority), ids, timeout=1)
        return [one for ids in messages for one in ids]

    return send


async def test_what_is_delivered_can_be_taken_and_is_acked_once_every_id_was_tried(
    bus: TaskBus, hub: MemoryHub, publish: Publish
) -> None:
    ids = await publish("default", Priority.HIGH, 3)
    async with open_bus("memory://", queues=QUEUES, name="leaving", hub=hub) as leaving:
        buffer = PrefetchBuffer(leaving, QUEUES, WEIGHTS, capacity=50)
        await buffer.fit(10)
        await buffer.arrived.wait()

        assert buffer.take(2) == ids[:2]
        buffer.tried(ids[:2])
    # What was unsettled went back.
    assert await bus.depth(BrokerQueue("default", Priority.HIGH)) == 1


async def test_an_acked_message_does_not_come_again(bus: TaskBus, hub: MemoryHub, publish: Publish) -> None:
    ids = await publish("default", Priority.HIGH, 3)
    async with open_bus("memory://", queues=QUEUES, name="leaving", hub=hub) as leaving:
        buffer = PrefetchBuffer(leaving, QUEUES, WEIGHTS, capacity=50)
        await buffer.fit(10)
        await buffer.arrived.wait()

        assert buffer.take(10) == ids
        buffer.tried(ids)
    assert await bus.depth(BrokerQueue("default", Priority.HIGH)) == 0
    assert buffer.is_empty
    assert not buffer.arrived.is_set()


async def test_priorities_are_taken_by_their_weights(buffer: PrefetchBuffer, publish: Publish, until: Until) -> None:
    priority_by_id = {
        task_id: priority for priority in Priority for task_id in await publish("default", priority, *[20] * 10)
    }
    await buffer.fit(50)
    await until(lambda: len({priority_by_id[i] for i in buffer.take(3)}) == 3)

    taken = buffer.take(100)

    assert Counter(priority_by_id[task_id] for task_id in taken) == {
        Priority.HIGH: 60,
        Priority.MEDIUM: 30,
        Priority.LOW: 10,
    }


@pytest.mark.parametrize("serving", [QUEUES[:2], QUEUES])
async def test_queues_take_turns_within_every_priority(
    bus: TaskBus, publish: Publish, serving: tuple[str, ...]
) -> None:
    buffer = PrefetchBuffer(bus, serving, WEIGHTS, capacity=50)
    kind_by_id = {
        task_id: (queue, priority)
        for queue in serving
        for priority in Priority
        for task_id in await publish(queue, priority, *[50] * 4)
    }
    await buffer.fit(50)
    await buffer.arrived.wait()

    taken = Counter(kind_by_id[task_id] for task_id in buffer.take(10 * 6))

    share = 60 // len(serving)
    expected = {Priority.HIGH: 0.6 * share, Priority.MEDIUM: 0.3 * share, Priority.LOW: 0.1 * share}
    assert taken == {(queue, priority): expected[priority] for queue in serving for priority in Priority}


async def test_what_is_put_back_is_at_the_head_in_its_order(
    bus: TaskBus, buffer: PrefetchBuffer, publish: Publish
) -> None:
    first = await publish("default", Priority.LOW, 1, 2, 1, 3, 1)
    await buffer.fit(4)
    await buffer.arrived.wait()
    await buffer.pause()
    later = await publish("default", Priority.LOW, 1)

    buffer.put_back()

    assert buffer.is_empty
    await buffer.fit(50)
    await buffer.arrived.wait()
    assert buffer.take(100) == [*first, *later]


async def test_a_message_in_the_midst_of_being_tried_is_put_back_whole(
    bus: TaskBus, buffer: PrefetchBuffer, publish: Publish
) -> None:
    ids = await publish("default", Priority.LOW, 2, 3)
    await buffer.fit(4)
    await buffer.arrived.wait()
    buffer.take(3)  # all of the first message, a part of the second

    await buffer.aclose()

    await buffer.fit(4)
    await buffer.arrived.wait()
    assert buffer.take(100) == ids


async def test_no_more_is_asked_for_than_there_are_slots(
    bus: TaskBus, buffer: PrefetchBuffer, publish: Publish
) -> None:
    await publish("default", Priority.HIGH, *[1] * 30)

    assert await buffer.fit(3)
    await buffer.arrived.wait()

    assert len(buffer.take(100)) == 3


async def test_consumers_begin_anew_only_where_that_at_least_doubles_them(
    buffer: PrefetchBuffer, publish: Publish, until: Until
) -> None:
    assert await buffer.fit(3)
    assert not await buffer.fit(1)
    assert not await buffer.fit(5)
    assert await buffer.fit(6)
    assert await buffer.fit(50)
    assert not await buffer.fit(50)
    await publish("default", Priority.HIGH, *[1] * 30)
    await buffer.arrived.wait()

    assert len(buffer.take(100)) == 8


async def test_a_pause_ends_deliveries_and_keeps_what_is_buffered(buffer: PrefetchBuffer, publish: Publish) -> None:
    ids = await publish("default", Priority.HIGH, 1)
    await buffer.fit(3)
    await buffer.arrived.wait()

    await buffer.pause()
    await publish("default", Priority.HIGH, 1)

    assert buffer.take(10) == ids
    assert buffer.is_empty
    assert await buffer.fit(1)
