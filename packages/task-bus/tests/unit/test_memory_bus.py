"""The bus in memory, between taking a message and handing it over: a moment that RabbitMQ does not show."""

from __future__ import annotations

import asyncio

import pytest

from task_bus import MemoryHub, open_bus
from task_contracts.testing import an_id


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
async def bus(hub):
    async with open_bus("memory://", queues=["default"], name="bus", hub=hub) as bus:
        yield bus


async def test_what_was_on_its_way_at_cancel_goes_back(bus, high, inbox):
    await bus.publish(high, [an_id()], timeout=1)
    subscription = await bus.consume(high, prefetch=1, on_delivery=inbox)

    await subscription.cancel()
    await asyncio.sleep(0)

    assert inbox.is_empty
    assert await bus.depth(high) == 1


async def test_what_was_on_its_way_at_leaving_goes_back(bus, hub, high, inbox, another_inbox):
    await bus.publish(high, ids := (an_id(),), timeout=1)

    async with open_bus("memory://", queues=["default"], name="leaver", hub=hub) as leaver:
        await leaver.consume(high, prefetch=1, on_delivery=inbox)
    await bus.consume(high, prefetch=1, on_delivery=another_inbox)

    assert (await another_inbox.next()).ids == ids
    assert inbox.is_empty


async def test_nothing_is_handed_over_within_publish_or_ack(bus, high, some_ids):
    depths: list[int] = []
    within_call = False

    def on_delivery(delivery):
        nonlocal within_call
        assert not within_call
        within_call = True
        delivery.ack()
        within_call = False
        depths.append(len(depths))
        if len(depths) == 3:
            done.set()

    done = asyncio.Event()
    await bus.consume(high, prefetch=1, on_delivery=on_delivery)
    for ids in some_ids(3):
        await bus.publish(high, ids, timeout=1)

    await asyncio.wait_for(done.wait(), 1)


async def test_cancelled_subscriptions_are_forgotten(bus, high, inbox):
    for _ in range(10):
        await (await bus.consume(high, prefetch=1, on_delivery=inbox)).cancel()

    assert len(bus._subscriptions) == 1


async def test_publishing_without_end_lets_others_run(bus, high):
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    for _ in range(10):
        await bus.publish(high, [an_id()], timeout=1)

    running.cancel()
    assert others >= 9
