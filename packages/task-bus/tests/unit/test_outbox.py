from __future__ import annotations

import asyncio

import pytest

from task_bus._outbox import SIGNAL_IDS_MAX, WAITING_IDS_MAX, Outbox
from task_contracts import Signal, SignalKind
from task_contracts.testing import an_id


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def test_any_number_of_rings_for_a_queue_is_one(outbox):
    for _ in range(1000):
        outbox.add(Signal(kind=SignalKind.DUE, queue="default"))
        outbox.add(Signal(kind=SignalKind.DUE, queue="reports"))

    assert outbox.take() == [Signal(kind=SignalKind.DUE, queue=queue) for queue in ("default", "reports")]


def test_ids_of_a_kind_are_merged_in_order_and_said_once(outbox):
    one, two, three = an_id(), an_id(), an_id()
    for ids in ((one, two), (two, three), (one,)):
        outbox.add(Signal(kind=SignalKind.CHANGED, ids=ids))

    assert outbox.take() == [Signal(kind=SignalKind.CHANGED, ids=(one, two, three))]


def test_kinds_are_kept_apart(outbox):
    one = an_id()
    outbox.add(Signal(kind=SignalKind.CHANGED, ids=(one,)))
    outbox.add(Signal(kind=SignalKind.CANCEL, ids=(one,)))

    assert [signal.kind for signal in outbox.take()] == [SignalKind.CHANGED, SignalKind.CANCEL]


def test_what_was_taken_is_gone(outbox):
    outbox.add(Signal(kind=SignalKind.DUE))

    outbox.take()

    assert outbox.take() == []


def test_many_ids_travel_in_several_signals(outbox):
    ids = tuple(an_id() for _ in range(SIGNAL_IDS_MAX + 1))
    outbox.add(Signal(kind=SignalKind.CANCEL, ids=ids))

    signals = outbox.take()

    assert [len(signal.ids) for signal in signals] == [SIGNAL_IDS_MAX, 1]
    assert sum((signal.ids for signal in signals), ()) == ids


def test_what_waits_is_bounded(outbox):
    for _ in range(WAITING_IDS_MAX + 5):
        outbox.add(Signal(kind=SignalKind.CHANGED, ids=(an_id(),)))

    assert sum(len(signal.ids) for signal in outbox.take()) == WAITING_IDS_MAX


async def test_whoever_waits_is_woken_by_the_first_signal(outbox):
    waiting = asyncio.create_task(outbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()

    outbox.add(Signal(kind=SignalKind.DUE))

    await asyncio.wait_for(waiting, 1)
