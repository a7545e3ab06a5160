"""A broken broker costs time, and then the bus goes on by itself."""

from __future__ import annotations

import asyncio
import logging

import aio_pika
import pytest

from task_bus import BusError, BusUnavailableError, PublishUnconfirmedError
from task_bus._rabbit.timings import BrokerTimings
from task_bus._rabbit.topology import count_ready, declare_tasks
from task_contracts import Signal, SignalKind
from task_contracts.testing import an_id

pytestmark = pytest.mark.private_servers

BACK_SECONDS = 30
LEAVING_SECONDS = 3.5
"""What is promised, and a little for a slow machine."""
LOW_WATERMARK, USUAL_WATERMARK = "0.0000001", "0.4"


@pytest.fixture
async def consuming(private_world, high, inbox):
    """A bus that consumes and holds one delivery, and another that publishes."""
    consumer, publisher = await private_world.bus("consumer"), await private_world.bus("publisher")
    await consumer.consume(high, prefetch=10, on_delivery=inbox)
    await publisher.publish(high, [an_id()], timeout=5)
    held = await inbox.next()
    return consumer, publisher, held


async def test_a_restarted_application_brings_everything_back(consuming, faults, high, inbox, eventually):
    await faults.ctl("stop_app")
    await faults.ctl("start_app")

    await _goes_on(consuming, high, inbox, eventually)


async def test_a_killed_broker_brings_everything_back(consuming, faults, high, inbox, eventually):
    await faults.kill()
    await faults.start()

    await _goes_on(consuming, high, inbox, eventually)


async def test_closed_connections_are_opened_again(consuming, faults, high, inbox, eventually):
    for _ in range(3):
        await faults.close_connections()

    await _goes_on(consuming, high, inbox, eventually)


async def test_a_deleted_queue_is_declared_and_consumed_again(consuming, faults, high, inbox, eventually):
    _, publisher, _ = consuming
    await faults.delete_queue(high)
    ids = (an_id(),)

    await publisher.publish(high, ids, timeout=5)

    while (await inbox.next()).ids != ids:
        pass


async def test_publishing_to_a_deleted_queue_makes_it_again(private_world, faults, high, low, some_ids):
    bus = await private_world.bus()
    await faults.delete_queue(high)

    await asyncio.gather(*(bus.publish(high, ids, timeout=5) for ids in some_ids(100)))

    assert await bus.depth(high) == 100
    assert await bus.depth(low) == 0
    assert bus.is_connected


async def test_the_depth_of_a_deleted_queue_is_nothing_and_it_is_made_again(private_world, faults, high):
    bus = await private_world.bus()
    await faults.delete_queue(high)

    assert await bus.depth(high) == 0

    assert high.name in await faults.ctl("list_queues", "--vhost", faults.vhost, "name")
    await bus.publish(high, [an_id()], timeout=5)


async def test_a_queue_whose_depth_gets_no_answer_costs_no_other_its_own(private_world, high, low, monkeypatch):
    bus = await private_world.bus(timings=BrokerTimings(call_seconds=2))

    async def count(channel, *, queue):
        if queue == high:
            await asyncio.Event().wait()
        return await count_ready(channel, queue=queue)

    monkeypatch.setattr("task_bus._rabbit.publisher.count_ready", count)
    silent, depth = await asyncio.gather(bus.depth(high), bus.depth(low), return_exceptions=True)

    assert isinstance(silent, BusUnavailableError)
    assert depth == 0
    assert bus.is_connected


async def test_a_deleted_exchange_is_declared_again(private_world, faults, high, eventually):
    bus = await private_world.bus()
    async with await aio_pika.connect(private_world.url) as connection, connection.channel() as channel:
        await channel.exchange_delete("tasks")

    with pytest.raises(BusError):
        await bus.publish(high, [an_id()], timeout=5)

    await _publishes(bus, high, eventually)


async def test_a_bus_can_be_entered_before_its_broker_is_there(private_world, faults, high, inbox, caplog):
    await faults.stop()
    with caplog.at_level(logging.WARNING, "task_bus"):
        bus = await private_world.stack.enter_async_context(private_world.make_bus("early"))
        await bus.consume(high, prefetch=1, on_delivery=inbox)
        with pytest.raises(BusUnavailableError):
            await bus.publish(high, [an_id()], timeout=5)
        with pytest.raises(TimeoutError):
            await bus.wait_connected(1)
    assert _events(caplog) == ["broker_unreachable"] * 2

    await faults.start()

    await bus.wait_connected(BACK_SECONDS)
    await bus.publish(high, ids := (an_id(),), timeout=5)
    assert (await inbox.next()).ids == ids


async def test_a_frozen_broker_costs_a_publish_its_timeout_and_nothing_else(consuming, faults, high, inbox, eventually):
    _, publisher, _ = consuming
    loop = asyncio.get_running_loop()
    faults.pause()
    try:
        began = loop.time()
        with pytest.raises(PublishUnconfirmedError) as caught:
            await publisher.publish(high, [an_id()], timeout=0.5)
        assert loop.time() - began < 2  # for a busy machine; any other limit is 5 s
        assert not caught.value.is_repeat_safe
        assert asyncio.current_task().cancelling() == 0
        with pytest.raises(BusUnavailableError):
            await publisher.depth(high)
    finally:
        faults.resume()

    await _publishes(publisher, high, eventually, ids := (an_id(),))
    while (await inbox.next()).ids != ids:
        pass


async def test_a_broker_that_stays_frozen_is_seen_to_be_gone(private_world, faults, high, some_ids):
    private_world.url += "?heartbeat=1"
    loop = asyncio.get_running_loop()
    try:
        async with private_world.make_bus() as bus:
            await bus.wait_connected(BACK_SECONDS)
            publishing = [asyncio.create_task(bus.publish(high, ids, timeout=60)) for ids in some_ids(5)]
            await asyncio.gather(*publishing)
            faults.pause()
            # More than the sockets can hold, so that the library is stuck in writing too.
            publishing = [asyncio.create_task(bus.publish(high, [an_id()] * 50, timeout=60)) for _ in range(5000)]
            results = await asyncio.gather(*publishing, return_exceptions=True)
            assert not bus.is_connected
            began = loop.time()
        assert loop.time() - began < LEAVING_SECONDS
    finally:
        faults.resume()

    # What had not been written yet when the connection was given up is known not to have arrived.
    assert {type(result) for result in results} == {PublishUnconfirmedError, BusUnavailableError}


@pytest.mark.parametrize("kind", ["bus", "signals"])
async def test_leaving_takes_three_seconds_at_most_while_the_broker_is_frozen(private_world, faults, inbox, high, kind):
    loop = asyncio.get_running_loop()
    try:
        async with private_world.make_bus() if kind == "bus" else private_world.make_signals() as entered:
            await entered.wait_connected(BACK_SECONDS)
            if kind == "bus":
                await entered.publish(high, [an_id()], timeout=5)
                await entered.consume(high, prefetch=1, on_delivery=inbox)
                (await inbox.next()).ack()
            else:
                await entered.listen([SignalKind.DUE], inbox)
                await entered.wait_connected(BACK_SECONDS)
            faults.pause()
            began = loop.time()
        took = loop.time() - began
    finally:
        faults.resume()

    assert took < LEAVING_SECONDS


async def test_a_memory_alarm_stops_publishing_and_not_consuming(consuming, faults, high, inbox, some_ids, eventually):
    consumer, publisher, held = consuming
    for ids in some_ids(20):
        await publisher.publish(high, ids, timeout=5)
    deliveries = await inbox.take(9)
    await faults.ctl("set_vm_memory_high_watermark", LOW_WATERMARK)
    try:
        with pytest.raises(PublishUnconfirmedError):
            await publisher.publish(high, [an_id()], timeout=1)
        assert not publisher.is_connected
        with pytest.raises(BusUnavailableError):
            await publisher.publish(high, [an_id()], timeout=1)
        with pytest.raises(BusUnavailableError):
            await publisher.depth(high)

        for delivery in [held, *deliveries]:
            delivery.ack()
        for delivery in await inbox.take(10):
            delivery.ack()
        assert consumer.is_connected
    finally:
        await faults.ctl("set_vm_memory_high_watermark", USUAL_WATERMARK)

    await _publishes(publisher, high, eventually, ids := (an_id(),))
    while (await inbox.next()).ids != ids:
        pass


async def test_a_consumer_that_the_broker_forgot_is_noticed(private_world, high, inbox):
    bus = await private_world.bus(timings=BrokerTimings(watch_seconds=0.1))
    subscription = await bus.consume(high, prefetch=5, on_delivery=inbox)
    await subscription.end()

    await bus.publish(high, ids := (an_id(),), timeout=5)

    assert (await inbox.next()).ids == ids


async def test_a_consumer_with_nothing_to_do_is_left_alone(private_world, high, inbox, monkeypatch, caplog):
    looked = asyncio.Queue()
    monkeypatch.setattr("task_bus._rabbit.subscription.count_ready", _counting(looked))
    with caplog.at_level(logging.WARNING, "task_bus"):
        bus = await private_world.bus(timings=BrokerTimings(watch_seconds=0.01))
        await bus.consume(high, prefetch=5, on_delivery=inbox)
        for _ in range(10):
            await asyncio.wait_for(looked.get(), 5)

        assert bus.is_connected
    assert _events(caplog) == []


async def test_a_channel_that_the_broker_closed_for_slowness_is_opened_again(
    private_world, faults, high, inbox, eventually
):
    # 3.x to 4.2 close the channel of a consumer that is slow to ack, at their channel's next tick.
    await faults.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
    await faults.ctl("eval", "application:set_env(rabbit, consumer_timeout, 500).")
    try:
        bus = await private_world.bus()
        await bus.publish(high, ids := (an_id(),), timeout=5)
        await bus.consume(high, prefetch=1, on_delivery=inbox)

        first, second = await inbox.take(2)
    finally:
        await faults.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
        await faults.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 60000).")

    assert first.ids == second.ids == ids


async def test_a_consumer_that_is_begun_while_the_broker_is_frozen_begins_afterwards(
    private_world, faults, high, inbox, eventually
):
    bus = await private_world.bus(timings=BrokerTimings(call_seconds=0.2))
    faults.pause()
    try:
        subscription = await bus.consume(high, prefetch=5, on_delivery=inbox)
        assert not bus.is_connected
    finally:
        faults.resume()

    await _publishes(bus, high, eventually, ids := (an_id(),))
    assert (await inbox.next()).ids == ids
    faults.pause()
    try:
        await subscription.cancel()
    finally:
        faults.resume()
    await _publishes(bus, high, eventually)


async def test_a_consumer_that_nobody_waited_for_is_not_left_behind(
    private_world, faults, high, inbox, another_inbox, eventually
):
    bus = await private_world.bus()
    faults.pause()
    try:
        consuming = asyncio.create_task(bus.consume(high, prefetch=5, on_delivery=inbox))
        await asyncio.sleep(0)
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
    finally:
        faults.resume()

    await bus.consume(high, prefetch=5, on_delivery=another_inbox)
    await _publishes(bus, high, eventually, ids := (an_id(),))
    assert (await another_inbox.next()).ids == ids
    assert inbox.is_empty


async def test_an_error_of_our_own_is_logged_and_survived(private_world, caplog, monkeypatch):
    real, calls = declare_tasks, []

    async def declare(channel, queues):
        calls.append(channel)
        if len(calls) == 1:
            raise KeyError("a bug")
        return await real(channel, queues)

    monkeypatch.setattr("task_bus._rabbit.publisher.declare_tasks", declare)

    with caplog.at_level(logging.ERROR, "task_bus"):
        bus = await private_world.bus()

    assert _events(caplog) == ["broker_connection_error"]
    assert bus.is_connected


async def test_a_queue_with_other_arguments_is_reported_and_waited_for(private_world, high, caplog):
    async with await aio_pika.connect(private_world.url) as connection, connection.channel() as channel:
        await channel.declare_queue(high.name, durable=True)
        with caplog.at_level(logging.ERROR, "task_bus"):
            bus = await private_world.stack.enter_async_context(private_world.make_bus())
            with pytest.raises(TimeoutError):
                await bus.wait_connected(1)
        assert _events(caplog) == ["broker_unreachable"] * 2

        await channel.queue_delete(high.name)

    await bus.wait_connected(BACK_SECONDS)


async def test_wrong_credentials_are_reported_once_and_the_bus_waits(private_world, caplog):
    private_world.url = private_world.url.replace("guest:guest", "guest:wrong")
    with caplog.at_level(logging.ERROR, "task_bus"):
        async with private_world.make_bus() as bus:
            with pytest.raises(TimeoutError):
                await bus.wait_connected(1)

    assert _events(caplog) == ["broker_unreachable"] * 2
    assert not any("wrong" in str(record.__dict__) for record in caplog.records)


async def test_signals_are_heard_again_after_a_lost_connection(private_world, faults, inbox, eventually):
    sender, listener = await private_world.signals("sender"), await private_world.signals("listener")
    await listener.listen([SignalKind.CANCEL], inbox)
    await listener.wait_connected(BACK_SECONDS)

    await faults.close_connections()

    async def is_heard() -> bool:
        sender.send(Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))
        return not inbox.is_empty

    await eventually(is_heard)


async def test_signals_during_an_alarm_are_dropped_and_go_on_afterwards(private_world, faults, inbox, eventually):
    signals = await private_world.signals(timings=BrokerTimings(call_seconds=0.2))
    await signals.listen([SignalKind.CHANGED], inbox)
    await signals.wait_connected(BACK_SECONDS)
    signals.send(Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))
    await inbox.next()

    async def is_heard() -> bool:
        signals.send(Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))
        return not inbox.is_empty

    await faults.ctl("set_vm_memory_high_watermark", LOW_WATERMARK)
    try:
        with pytest.raises(TimeoutError):
            await eventually(is_heard, 1)
        assert not signals.is_connected
    finally:
        await faults.ctl("set_vm_memory_high_watermark", USUAL_WATERMARK)

    await eventually(is_heard)
    assert signals.is_connected


async def _goes_on(consuming, high, inbox, eventually) -> None:
    """A new message comes through, and what was held comes again; the old delivery can be settled, to no effect."""
    consumer, publisher, held = consuming
    ids = (an_id(),)
    await _publishes(publisher, high, eventually, ids)
    seen = set()
    while not {ids, held.ids} <= seen:
        delivery = await inbox.next()
        delivery.ack()
        seen.add(delivery.ids)
    held.ack()
    held.put_back()
    await consumer.wait_connected(BACK_SECONDS)


def _events(caplog) -> list[str]:
    """Return the events of this package; the library logs each of its tries too."""
    return [record.message for record in caplog.records if record.name.startswith("task_bus")]


async def _publishes(bus, queue, eventually, ids=None) -> None:
    async def is_published() -> bool:
        try:
            await bus.publish(queue, ids or [an_id()], timeout=5)
        except BusError:
            return False
        return True

    await eventually(is_published)


def _counting(looked):
    async def count(channel, *, queue):
        looked.put_nowait(queue)
        return await count_ready(channel, queue=queue)

    return count
