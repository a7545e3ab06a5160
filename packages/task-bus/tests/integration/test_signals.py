"""Signals, over both implementations."""

from __future__ import annotations

import aio_pika
import pytest

from task_bus._rabbit.listening import RabbitListening
from task_bus._rabbit.timings import BrokerTimings
from task_bus._rabbit.topology import SIGNALS_BYTES_MAX, declare_listener, declare_signals
from task_bus._wire import encode_signal
from task_bus.signals import send_changed
from task_contracts import Signal, SignalKind
from task_contracts.testing import an_id

EVERY_KIND = list(SignalKind)


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_signal_reaches_whoever_listens_to_its_kind(world, inbox, kind):
    sender, listener = await world.signals("sender"), await world.signals("listener")
    await listener.listen([kind], inbox)
    await listener.wait_connected(20)
    signal = Signal(kind=kind, queue="default", ids=() if kind is SignalKind.DUE else (an_id(),))

    sender.send(signal)

    assert await inbox.next() == signal


async def test_a_listener_hears_only_its_kinds(world, inbox, another_inbox):
    signals = await world.signals()
    await signals.listen([SignalKind.CANCEL, SignalKind.DUE], inbox)
    await signals.listen([SignalKind.CHANGED], another_inbox)
    await signals.wait_connected(20)
    changed, cancel = (Signal(kind=kind, ids=(an_id(),)) for kind in (SignalKind.CHANGED, SignalKind.CANCEL))

    signals.send(changed)
    signals.send(cancel)
    signals.send(Signal(kind=SignalKind.DUE))

    assert {signal.kind for signal in await inbox.take(2)} == {SignalKind.CANCEL, SignalKind.DUE}
    assert await another_inbox.next() == changed
    assert len(inbox.seen) == 2


async def test_every_listener_hears_a_signal(world, inbox, another_inbox):
    sender = await world.signals("sender")
    for callback in (inbox, another_inbox):
        listener = await world.signals("listener")
        await listener.listen(EVERY_KIND, callback)
        await listener.wait_connected(20)

    sender.send(Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))

    assert await inbox.next() == await another_inbox.next()


async def test_a_thousand_signals_at_once_are_few_messages(world, inbox):
    sender, listener = await world.signals("sender"), await world.signals("listener")
    await listener.listen([SignalKind.DUE, SignalKind.CHANGED], inbox)
    await listener.wait_connected(20)

    for _ in range(1000):
        sender.send(Signal(kind=SignalKind.DUE, queue="default"))
    sender.send(last := Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))

    heard = [await inbox.next()]
    while heard[-1] != last:
        heard.append(await inbox.next())
    assert len(heard) <= 3


async def test_ids_that_are_sent_together_arrive_together(world, inbox):
    signals = await world.signals()
    await signals.listen([SignalKind.CHANGED], inbox)
    await signals.wait_connected(20)
    ids = tuple(an_id() for _ in range(1200))

    for one in ids:
        signals.send(Signal(kind=SignalKind.CHANGED, ids=(one,)))

    heard = []
    while len(heard) < len(ids):
        heard.extend((await inbox.next()).ids)
    assert heard == list(ids)
    assert len(inbox.seen) == 3


async def test_changes_are_said_as_ids(world, inbox):
    signals = await world.signals()
    await signals.listen([SignalKind.CHANGED], inbox)
    await signals.wait_connected(20)

    send_changed(signals, ids := [an_id(), an_id()])

    assert await inbox.next() == Signal(kind=SignalKind.CHANGED, ids=tuple(ids))


async def test_a_listener_that_comes_late_hears_changes_from_then_on(world, inbox, eventually):
    sender, listener = await world.signals("sender"), await world.signals("listener")
    send_changed(sender, [before := an_id()])

    await listener.listen([SignalKind.CHANGED], inbox)
    await listener.wait_connected(20)

    async def is_heard() -> bool:
        send_changed(sender, [an_id()])
        return not inbox.is_empty

    await eventually(is_heard)
    send_changed(sender, [last := an_id()])
    ids = []
    while last not in ids:
        ids.extend((await inbox.next()).ids)
    assert before not in ids


async def test_changes_that_nobody_hears_are_dropped_until_one_is_tried_again(rabbit_world, inbox, eventually):
    sender = await rabbit_world.signals("sender", BrokerTimings(quiet_seconds=3600))
    listener = await rabbit_world.signals("listener")

    async def is_quiet() -> bool:
        return sender._changed_sender.is_quiet

    send_changed(sender, [an_id()])
    await eventually(is_quiet)
    await listener.listen(EVERY_KIND, inbox)
    await listener.wait_connected(20)
    send_changed(sender, [an_id()])
    sender.send(cancel := Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))
    assert await inbox.next() == cancel

    sender._changed_sender._quiet_until = 0.0  # an hour later
    send_changed(sender, [tried := an_id()])

    assert (await inbox.next()).ids == (tried,)


async def test_a_cancel_does_not_wait_behind_changes(rabbit_world, inbox):
    signals = await rabbit_world.signals(timings=BrokerTimings(gather_seconds=3600))
    await signals.listen(EVERY_KIND, inbox)
    await signals.wait_connected(20)
    for _ in range(5):
        send_changed(signals, [an_id()])
        await inbox.next()
    send_changed(signals, [an_id()])

    signals.send(cancel := Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))

    assert await inbox.next() == cancel


async def test_whoever_stopped_listening_hears_nothing(world, inbox, another_inbox):
    signals = await world.signals()
    gone = await signals.listen([SignalKind.CANCEL], inbox)
    await signals.listen([SignalKind.CANCEL], another_inbox)
    await signals.wait_connected(20)

    await gone.cancel()
    await gone.cancel()
    signals.send(Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))

    await another_inbox.next()
    assert inbox.is_empty


async def test_a_listener_from_before_the_entering_hears_what_comes_after_and_nothing_before(
    world, inbox, another_inbox
):
    sender, listener = await world.signals("sender"), world.make_signals("listener")
    for signals, callback in ((sender, another_inbox), (listener, inbox)):
        await signals.listen([SignalKind.CHANGED], callback)
    await sender.wait_connected(20)
    sender.send(Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))
    await another_inbox.next()

    async with listener:
        await listener.wait_connected(20)
        assert listener.is_connected
        sender.send(later := Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))

        assert await inbox.next() == later
    assert not listener.is_connected


async def test_a_listener_from_after_the_leaving_connects_to_nothing(world, inbox):
    async with world.make_signals() as signals:
        await signals.wait_connected(20)

    await signals.listen([SignalKind.CHANGED], inbox)

    with pytest.raises(TimeoutError):
        await signals.wait_connected(0.1)


async def test_sending_without_a_connection_is_silent(world, inbox):
    async with world.make_signals() as signals:
        await signals.listen([SignalKind.DUE], inbox)

    signals.send(Signal(kind=SignalKind.DUE))

    assert not signals.is_connected
    assert inbox.is_empty


async def test_what_is_no_signal_is_passed_over(rabbit_world, inbox):
    signals = await rabbit_world.signals()
    await signals.listen([SignalKind.CANCEL], inbox)
    await signals.wait_connected(20)
    async with await aio_pika.connect(rabbit_world.url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange("signals")
        await exchange.publish(aio_pika.Message(b"gossip"), "cancel")

    signals.send(signal := Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))

    assert await inbox.next() == signal
    assert signals.is_connected


async def test_a_slow_leader_finds_one_due_signal_and_not_a_thousand(rabbit_world, inbox):
    """The queue for `due` holds one message: a newer one replaces it."""
    signals = await rabbit_world.signals()
    await signals.listen([SignalKind.DUE], inbox)
    await signals.wait_connected(20)
    async with await aio_pika.connect(rabbit_world.url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange("signals")
        for number in range(1000):
            body = encode_signal(Signal(kind=SignalKind.DUE, queue=f"q{number}"))
            await exchange.publish(aio_pika.Message(body), "due")

    while (await inbox.next()).queue != "q999":
        pass
    assert inbox.is_empty


class NeverAcks:
    """Stands for an `AckSender` while its verdicts are on their way."""

    def settle(self, message, verdict):
        pass


@pytest.mark.parametrize(("kind", "on_their_way"), [(SignalKind.CHANGED, 10), (SignalKind.DUE, 1)])
async def test_only_of_due_signals_each_waits_for_the_ack_of_the_last(rabbit_world, inbox, kind, on_their_way):
    async with await aio_pika.connect(rabbit_world.url) as connection, connection.channel() as channel:
        exchange = await declare_signals(channel)
        await RabbitListening(None, [kind, SignalKind.CANCEL], inbox).begin(channel, NeverAcks())
        for _ in range(10):
            await exchange.publish(aio_pika.Message(encode_signal(Signal(kind=kind))), kind.value)
        await exchange.publish(aio_pika.Message(encode_signal(last := Signal(kind=SignalKind.CANCEL))), "cancel")

        heard = await inbox.take(on_their_way + 1)

        assert last in heard
        assert inbox.is_empty


async def test_signals_for_a_listener_that_hangs_take_bounded_memory_of_the_broker(rabbit_world):
    async with await aio_pika.connect(rabbit_world.url) as connection, connection.channel() as channel:
        exchange = await declare_signals(channel)
        queue = await declare_listener(channel, SignalKind.CHANGED)
        for _ in range(20):
            await exchange.publish(aio_pika.Message(bytes(1 << 20)), "changed")

        declared = await channel.declare_queue(queue.name, passive=True)

    assert declared.declaration_result.message_count == SIGNALS_BYTES_MAX >> 20


async def test_a_signal_that_was_sent_before_the_end_of_its_sender_arrives(world, inbox):
    listener = await world.signals("listener")
    await listener.listen([SignalKind.REVOKED], inbox)
    await listener.wait_connected(20)
    sender = await world.signals("sender")
    await sender.wait_connected(20)

    sender.send(Signal(kind=SignalKind.REVOKED))
    await sender.wait_sent(5)

    assert (await inbox.next()).kind is SignalKind.REVOKED
