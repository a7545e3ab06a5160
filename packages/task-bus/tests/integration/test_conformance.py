"""What both implementations promise, tested on both."""

from __future__ import annotations

import asyncio
import logging

import pytest

from task_bus import BrokerQueue, BusUnavailableError, MemoryHub, UnroutableError, open_bus
from task_contracts import Priority, limits
from task_contracts.testing import an_id


async def test_a_published_message_is_delivered_with_its_ids(world, high, inbox):
    bus = await world.bus()
    ids = tuple(an_id() for _ in range(limits.MESSAGE_IDS_MAX))

    await bus.publish(high, ids, timeout=5)
    await bus.consume(high, prefetch=1, on_delivery=inbox)

    delivery = await inbox.next()
    assert (delivery.queue, delivery.ids) == (high, ids)


async def test_messages_come_in_the_order_in_which_they_were_published(world, high, inbox, some_ids):
    bus = await world.bus()
    published = some_ids(20)

    for ids in published:
        await bus.publish(high, ids, timeout=5)
    await bus.consume(high, prefetch=20, on_delivery=inbox)

    assert [delivery.ids for delivery in await inbox.take(20)] == published


async def test_a_message_reaches_only_the_consumers_of_its_broker_queue(world, high, low, inbox, another_inbox):
    publisher, consumer = await world.bus("publisher"), await world.bus("consumer")
    await consumer.consume(high, prefetch=5, on_delivery=inbox)
    await consumer.consume(low, prefetch=5, on_delivery=another_inbox)
    await consumer.consume(BrokerQueue("reports", Priority.LOW), prefetch=5, on_delivery=inbox)

    ids = (an_id(),)
    await publisher.publish(low, ids, timeout=5)

    assert (await another_inbox.next()).ids == ids
    assert inbox.is_empty


async def test_two_consumers_share_the_messages(world, high, inbox, another_inbox, some_ids):
    one, two = await world.bus("one"), await world.bus("two")
    await one.consume(high, prefetch=2, on_delivery=inbox)
    await two.consume(high, prefetch=2, on_delivery=another_inbox)

    for ids in some_ids(4):
        await one.publish(high, ids, timeout=5)

    await inbox.take(2)
    await another_inbox.take(2)


async def test_what_was_acked_is_gone(world, high, inbox, another_inbox, eventually):
    async with world.make_bus() as bus:
        await bus.wait_connected(20)
        await bus.publish(high, [an_id()], timeout=5)
        subscription = await bus.consume(high, prefetch=1, on_delivery=inbox)

        (await inbox.next()).ack()
        await subscription.cancel()

    later = await world.bus("later")
    await later.publish(high, last := (an_id(),), timeout=5)
    await later.consume(high, prefetch=5, on_delivery=another_inbox)
    assert (await another_inbox.next()).ids == last


async def test_no_more_than_the_prefetch_is_unsettled(world, high, inbox, eventually, some_ids):
    bus = await world.bus()
    for ids in some_ids(5):
        await bus.publish(high, ids, timeout=5)

    await bus.consume(high, prefetch=2, on_delivery=inbox)
    first, _ = await inbox.take(2)
    assert await bus.depth(high) == 3
    assert inbox.is_empty

    first.ack()
    await inbox.next()
    assert await bus.depth(high) == 2
    assert inbox.is_empty


async def test_what_is_put_back_goes_to_the_head_in_order(world, high, inbox, another_inbox, some_ids):
    bus = await world.bus()
    published = some_ids(5)
    for ids in published:
        await bus.publish(high, ids, timeout=5)
    subscription = await bus.consume(high, prefetch=3, on_delivery=inbox)
    deliveries = await inbox.take(3)

    await subscription.cancel()
    for delivery in deliveries:
        delivery.put_back()

    await bus.consume(high, prefetch=5, on_delivery=another_inbox)
    assert [delivery.ids for delivery in await another_inbox.take(5)] == published


async def test_after_cancel_nothing_is_delivered_and_what_was_can_be_settled(
    world, high, inbox, another_inbox, eventually, some_ids
):
    bus = await world.bus()
    first, second, third = some_ids(3)
    await bus.publish(high, first, timeout=5)
    await bus.publish(high, second, timeout=5)
    subscription = await bus.consume(high, prefetch=2, on_delivery=inbox)
    one, two = await inbox.take(2)

    await subscription.cancel()
    await subscription.cancel()
    await bus.publish(high, third, timeout=5)
    one.ack()
    two.put_back()

    await eventually(lambda: _has_depth(bus, high, 2))
    assert inbox.is_empty
    await bus.consume(high, prefetch=5, on_delivery=another_inbox)
    assert [delivery.ids for delivery in await another_inbox.take(2)] == [second, third]


async def test_consumers_can_be_cancelled_and_begun_many_times(world, high, another_inbox, inbox, some_ids):
    bus = await world.bus()
    for ids in some_ids(3):
        await bus.publish(high, ids, timeout=5)

    for _ in range(20):
        subscription = await bus.consume(high, prefetch=3, on_delivery=inbox)
        deliveries = await inbox.take(3)
        await subscription.cancel()
        for delivery in deliveries:
            delivery.put_back()

    await bus.consume(high, prefetch=3, on_delivery=another_inbox)
    assert [d.ids for d in await another_inbox.take(3)] == [d.ids for d in inbox.seen[:3]]


async def test_a_second_verdict_counts_for_nothing(world, high, inbox, some_ids):
    bus = await world.bus()
    first, second = some_ids(2)
    await bus.publish(high, first, timeout=5)
    await bus.consume(high, prefetch=1, on_delivery=inbox)

    delivery = await inbox.next()
    delivery.ack()
    delivery.ack()
    delivery.put_back()

    await bus.publish(high, second, timeout=5)
    assert (await inbox.next()).ids == second
    assert bus.is_connected


async def test_leaving_gives_back_what_is_unsettled_in_order(world, high, inbox, another_inbox, some_ids):
    stayer = await world.bus("stayer")
    published = some_ids(4)
    for ids in published:
        await stayer.publish(high, ids, timeout=5)

    async with world.make_bus("leaver") as leaver:
        await leaver.consume(high, prefetch=3, on_delivery=inbox)
        deliveries = await inbox.take(3)
    for delivery in deliveries:
        delivery.ack()

    await stayer.consume(high, prefetch=4, on_delivery=another_inbox)
    assert [delivery.ids for delivery in await another_inbox.take(4)] == published


async def test_verdicts_given_just_before_leaving_are_kept(world, high, inbox, some_ids):
    # No more than 20: RabbitMQ passes 32 verdicts of a channel on to a quorum queue at a time and forgets the others
    # when the channel closes, so those messages are delivered again.
    stayer = await world.bus("stayer")
    for ids in some_ids(20):
        await stayer.publish(high, ids, timeout=5)

    async with world.make_bus("leaver") as leaver:
        await leaver.consume(high, prefetch=20, on_delivery=inbox)
        for delivery in await inbox.take(20):
            delivery.ack()

    assert await stayer.depth(high) == 0


async def test_depth_counts_what_is_ready(world, high, low, some_ids):
    bus = await world.bus()
    for ids in some_ids(3):
        await bus.publish(high, ids, timeout=5)

    assert await bus.depth(high) == 3
    assert await bus.depth(low) == 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"v": 2, "ids": ["0199f5d4-0000-7000-8000-000000000000"]}', id="another version"),
        pytest.param(b'{"v": 1, "ids": []}', id="no ids"),
        pytest.param(b'{"v": 1, "ids": ["nonsense"]}', id="no id"),
        pytest.param(b"[" * 10_000_000, id="ten megabytes"),
    ],
)
async def test_what_is_no_message_of_ours_ends_in_the_dead_letter_queue(world, high, inbox, eventually, caplog, body):
    bus = await world.bus()
    dead: list[bytes] = []

    async def has_dead() -> bool:
        dead.extend(await world.dead())
        return bool(dead)

    with caplog.at_level(logging.WARNING, "task_bus"):
        await world.inject(high.name, body)
        await bus.publish(high, ids := (an_id(),), timeout=5)
        await bus.consume(high, prefetch=1, on_delivery=inbox)

        assert (await inbox.next()).ids == ids
        await eventually(has_dead)
    assert dead[0] == body
    assert [record.message for record in caplog.records] == ["foreign_message_dead_lettered"]


async def test_what_no_queue_takes_is_an_error_and_harms_nothing(world, high):
    bus = await world.bus()
    nowhere = BrokerQueue("nowhere", Priority.HIGH)

    with pytest.raises(UnroutableError) as caught:
        await bus.publish(nowhere, [an_id()], timeout=5)
    with pytest.raises(UnroutableError):
        await bus.depth(nowhere)
    with pytest.raises(UnroutableError):
        await bus.consume(nowhere, prefetch=1, on_delivery=print)

    assert caught.value.queue == "tasks.nowhere.high"
    assert caught.value.is_repeat_safe
    await bus.publish(high, [an_id()], timeout=5)
    assert await bus.depth(high) == 1


async def test_a_message_needs_ids_and_not_too_many(world, high):
    bus = await world.bus()

    for ids in ([], [an_id() for _ in range(limits.MESSAGE_IDS_MAX + 1)]):
        with pytest.raises(ValueError, match="ids"):
            await bus.publish(high, ids, timeout=5)


async def test_many_publish_at_once(world, high, some_ids):
    bus = await world.bus()

    await asyncio.gather(*(bus.publish(high, ids, timeout=20) for ids in some_ids(1000)))

    assert await bus.depth(high) == 1000


async def test_a_cancelled_publish_leaves_the_bus_in_order(world, high, some_ids):
    bus = await world.bus()
    publishing = asyncio.create_task(bus.publish(high, [an_id()], timeout=5))

    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing

    await bus.publish(high, [an_id()], timeout=5)
    assert bus.is_connected


async def test_a_consumer_from_before_the_entering_gets_what_comes_after(world, high, inbox):
    early = world.make_bus("early")
    await early.consume(high, prefetch=1, on_delivery=inbox)
    with pytest.raises(BusUnavailableError):
        await early.publish(high, [an_id()], timeout=5)
    assert not early.is_connected

    async with early:
        await early.wait_connected(20)
        await early.publish(high, ids := (an_id(),), timeout=5)

        assert (await inbox.next()).ids == ids
    assert not early.is_connected
    with pytest.raises(BusUnavailableError):
        await early.publish(high, [an_id()], timeout=5)
    with pytest.raises(BusUnavailableError):
        await early.depth(high)


async def test_a_bus_is_connected_from_entering_to_leaving(world, high):
    bus = world.make_bus()
    assert not bus.is_connected

    async with bus as entered:
        await bus.wait_connected(20)
        assert entered is bus
        assert bus.is_connected
        await bus.publish(high, [an_id()], timeout=5)

    assert not bus.is_connected
    with pytest.raises(BusUnavailableError):
        await bus.publish(high, [an_id()], timeout=5)


async def test_a_bus_is_entered_once(world):
    async with world.make_bus() as bus:
        with pytest.raises(RuntimeError, match="open another"):
            await bus.__aenter__()
    with pytest.raises(RuntimeError, match="open another"):
        await bus.__aenter__()


async def test_waiting_for_a_connection_has_a_deadline():
    bus = open_bus("memory://", queues=["default"], name="bus", hub=MemoryHub())

    with pytest.raises(TimeoutError):
        await bus.wait_connected(0.01)


async def _has_depth(bus, queue, depth):
    return await bus.depth(queue) == depth
