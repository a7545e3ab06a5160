from __future__ import annotations

import asyncio

import pytest

from task_bus._signal_buffer import SIGNAL_IDS_MAX, WAITING_IDS_MAX, SignalBuffer
from task_contracts import Signal, SignalKind
from task_contracts.testing import an_id


@pytest.fixture
def buffer() -> SignalBuffer:
    return SignalBuffer()


def test_any_number_of_due_signals_for_a_queue_is_one(buffer):
    for _ in range(1000):
        buffer.add(Signal(kind=SignalKind.DUE, queue="default"))
        buffer.add(Signal(kind=SignalKind.DUE, queue="reports"))

    assert buffer.take() == [Signal(kind=SignalKind.DUE, queue=queue) for queue in ("default", "reports")]


def test_ids_of_a_kind_are_merged_in_order_and_said_once(buffer):
    one, two, three = an_id(), an_id(), an_id()
    for ids in ((one, two), (two, three), (one,)):
        buffer.add(Signal(kind=SignalKind.CHANGED, ids=ids))

    assert buffer.take() == [Signal(kind=SignalKind.CHANGED, ids=(one, two, three))]


def test_kinds_are_kept_apart(buffer):
    one = an_id()
    buffer.add(Signal(kind=SignalKind.CHANGED, ids=(one,)))
    buffer.add(Signal(kind=SignalKind.CANCEL, ids=(one,)))

    assert [signal.kind for signal in buffer.take()] == [SignalKind.CHANGED, SignalKind.CANCEL]


def test_what_was_taken_is_gone(buffer):
    buffer.add(Signal(kind=SignalKind.DUE))

    buffer.take()

    assert buffer.take() == []


def test_many_ids_travel_in_several_signals(buffer):
    ids = tuple(an_id() for _ in range(SIGNAL_IDS_MAX + 1))
    buffer.add(Signal(kind=SignalKind.CANCEL, ids=ids))

    signals = buffer.take()

    assert [len(signal.ids) for signal in signals] == [SIGNAL_IDS_MAX, 1]
    assert sum((signal.ids for signal in signals), ()) == ids


def test_what_waits_is_bounded(buffer):
    for _ in range(WAITING_IDS_MAX + 5):
        buffer.add(Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))

    assert sum(len(signal.ids) for signal in buffer.take()) == WAITING_IDS_MAX


async def test_whoever_waits_is_woken_by_the_first_signal(buffer):
    waiting = asyncio.create_task(buffer.wait())
    await asyncio.sleep(0)
    assert not waiting.done()

    buffer.add(Signal(kind=SignalKind.DUE))

    await asyncio.wait_for(waiting, 1)
