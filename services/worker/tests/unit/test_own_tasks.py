from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from task_bus import BrokerQueue, MemoryHub, TaskBus, open_bus
from task_contracts import Priority
from task_worker.claim.own_tasks import OwnTasks
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots

WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}
ONE, TWO, THREE = uuid4(), uuid4(), uuid4()


@pytest.fixture
async def bus() -> AsyncIterator[TaskBus]:
    async with open_bus("memory://", queues=("default",), name="test", hub=MemoryHub()) as bus:
        yield bus


@pytest.fixture
def buffer(bus: TaskBus) -> PrefetchBuffer:
    return PrefetchBuffer(bus, ("default",), WEIGHTS, capacity=2)


@pytest.fixture
def slots() -> Slots:
    return Slots(2, 1 << 20)


@pytest.fixture
def own(buffer: PrefetchBuffer, slots: Slots) -> OwnTasks:
    return OwnTasks(buffer, slots, ["default"])


async def test_an_idle_worker_takes_what_has_just_become_due(own: OwnTasks, buffer: PrefetchBuffer) -> None:
    assert own.take("default", [ONE], workers=3)

    assert buffer.arrived.is_set()
    assert buffer.take(2) == [ONE]


async def test_nothing_is_taken_of_a_wake_up_that_names_none(own: OwnTasks, buffer: PrefetchBuffer) -> None:
    assert not own.take("default", [], workers=1)
    assert not buffer.arrived.is_set()


async def test_nothing_is_taken_of_a_queue_that_only_others_serve(own: OwnTasks, buffer: PrefetchBuffer) -> None:
    assert not own.take("reports", [ONE], workers=1)
    assert not buffer.arrived.is_set()


async def test_nothing_is_taken_while_anything_waits(own: OwnTasks, bus: TaskBus, buffer: PrefetchBuffer) -> None:
    await buffer.fit(2)
    await bus.publish(BrokerQueue("default", Priority.LOW), [TWO], timeout=1)
    await buffer.arrived.wait()

    assert not own.take("default", [ONE], workers=1)
    assert buffer.take(2) == [TWO]
    assert own.take("default", [ONE], workers=1)
    assert not own.take("default", [THREE], workers=1)


async def test_no_more_is_taken_than_slots_are_free(own: OwnTasks, slots: Slots) -> None:
    assert not own.take("default", [ONE, TWO, THREE], workers=1)

    slots.take(0)
    assert not own.take("default", [ONE, TWO], workers=1)
    assert own.take("default", [ONE], workers=1)


async def test_what_others_could_run_is_taken_only_while_nothing_runs_here(own: OwnTasks, slots: Slots) -> None:
    slots.take(0)

    assert not own.take("default", [ONE], workers=2)
    slots.code_ended()
    assert own.take("default", [ONE], workers=2)
