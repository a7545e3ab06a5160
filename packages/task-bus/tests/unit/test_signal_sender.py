"""When signals are sent and when they are dropped, at a broker that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aio_pika.exceptions import PublishError

from task_bus._rabbit import signal_sender
from task_bus._rabbit.signal_sender import SignalSender
from task_bus._rabbit.timings import BrokerTimings
from task_bus._wire import decode_signal
from task_contracts import Signal, SignalKind
from task_contracts.testing import an_id

QUIET = BrokerTimings(quiet_seconds=60, gather_seconds=0)
Open = Callable[..., Any]


class ReturnedError(PublishError):
    """The error for a message that the broker has returned, without the message."""

    def __init__(self) -> None:
        Exception.__init__(self)


class Exchange:
    """Takes each message only once the test answers it."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[Signal, bool]] = asyncio.Queue()
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def publish(self, message: Any, routing_key: str, *, mandatory: bool) -> None:
        signal = decode_signal(message.body)
        assert routing_key == signal.kind.value
        self.sent.put_nowait((signal, mandatory))
        if (error := await self._answers.get()) is not None:
            raise error

    def confirm(self) -> None:
        self._answers.put_nowait(None)

    def give_back(self) -> None:
        self._answers.put_nowait(ReturnedError())

    async def next(self) -> Signal:
        async with asyncio.timeout(5):
            return (await self.sent.get())[0]


class Connection:
    is_blocked = False

    def check(self) -> None:
        raise AssertionError("every message was answered")


class Clock:
    """`time`, as the sender sees it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signal_sender, "time", clock)
    return clock


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def running(exchange: Exchange) -> Open:
    @asynccontextmanager
    async def opened(sender: SignalSender) -> AsyncIterator[SignalSender]:
        task = asyncio.create_task(sender.run(Connection(), exchange))  # type: ignore[arg-type]
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.wait([task])

    return opened


def changed(count: int = 1) -> Signal:
    return Signal(kind=SignalKind.CHANGED, ids=tuple(an_id() for _ in range(count)))


async def until_quiet(sender: SignalSender) -> None:
    async with asyncio.timeout(5):
        while not sender.is_quiet:  # noqa: ASYNC110 # no sender has an event for it
            await asyncio.sleep(0)


async def test_what_comes_while_one_is_under_way_is_one_message(exchange, running, clock):
    async with running(SignalSender(QUIET, needs_listener=True)) as sender:
        sender.add(first := changed())
        assert await exchange.next() == first
        for signal in (later := [changed(2) for _ in range(3)]):
            sender.add(signal)

        exchange.confirm()

        assert (await exchange.next()).ids == sum((signal.ids for signal in later), ())


async def test_after_one_came_back_none_is_sent_or_kept_until_the_pause_is_over(exchange, running, clock):
    async with running(SignalSender(QUIET, needs_listener=True)) as sender:
        sender.add(changed())
        await exchange.next()
        sender.add(changed())  # while it is under way
        exchange.give_back()
        await until_quiet(sender)
        sender.add(changed())
        clock.now += QUIET.quiet_seconds - 0.001
        sender.add(changed())

        clock.now += 0.001
        sender.add(tried := changed())

        assert await exchange.next() == tried
        assert exchange.sent.empty()


async def test_of_many_messages_the_first_that_comes_back_is_the_last_that_is_sent(exchange, running, clock):
    async with running(SignalSender(QUIET, needs_listener=True)) as sender:
        sender.add(many := changed(1200))
        assert (await exchange.next()).ids == many.ids[:500]
        exchange.give_back()
        await until_quiet(sender)
        clock.now += QUIET.quiet_seconds

        sender.add(tried := changed())

        assert await exchange.next() == tried


async def test_once_one_is_heard_all_are_sent_again(exchange, running, clock):
    async with running(SignalSender(QUIET, needs_listener=True)) as sender:
        sender.add(changed())
        await exchange.next()
        exchange.give_back()
        await until_quiet(sender)
        clock.now += QUIET.quiet_seconds

        for signal in [changed() for _ in range(3)]:
            sender.add(signal)

            assert await exchange.next() == signal
            exchange.confirm()


@pytest.mark.parametrize("needs_listener", [True, False])
async def test_only_what_needs_a_listener_may_come_back(exchange, running, needs_listener):
    async with running(SignalSender(QUIET, needs_listener=needs_listener)) as sender:
        sender.add(changed())

        async with asyncio.timeout(5):
            assert (await exchange.sent.get())[1] is needs_listener


async def test_a_few_changes_go_at_once_and_then_they_are_gathered(exchange, running):
    async with running(SignalSender(BrokerTimings(gather_seconds=3600), needs_listener=True)) as sender:
        for _ in range(5):
            sender.add(changed())
            await exchange.next()
            exchange.confirm()

        sender.add(changed())

        for _ in range(100):
            await asyncio.sleep(0)
        assert exchange.sent.empty()


async def test_after_a_pause_a_few_go_at_once_again(exchange, running, clock):
    timings = BrokerTimings(gather_seconds=3600)
    async with running(SignalSender(timings, needs_listener=True)) as sender:
        for _ in range(20):
            clock.now += timings.gather_seconds
            sender.add(signal := changed())

            assert await exchange.next() == signal
            exchange.confirm()


async def test_other_signals_are_never_gathered(exchange, running):
    async with running(SignalSender(BrokerTimings(gather_seconds=3600))) as sender:
        for _ in range(20):
            sender.add(signal := Signal(kind=SignalKind.CANCEL, ids=(an_id(),)))

            assert await exchange.next() == signal
            exchange.confirm()


async def test_what_was_sent_is_with_the_broker_once_it_was_confirmed(exchange, running):
    async with running(SignalSender(QUIET)) as sender:
        await sender.wait_sent()  # nothing is under way
        sender.add(Signal(kind=SignalKind.REVOKED))
        waiting = asyncio.create_task(sender.wait_sent())
        await exchange.next()
        was_done = waiting.done()
        exchange.confirm()

        async with asyncio.timeout(5):
            await waiting

    assert not was_done
