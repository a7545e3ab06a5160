"""What other packages may import, and what a URL opens."""

from __future__ import annotations

from importlib import import_module

import pytest

from task_bus import BrokerQueue, BusError, Delivery, MemoryHub, UnroutableError, open_bus
from task_bus._delivery import Verdict
from task_bus.signals import open_signals
from task_contracts import Priority


@pytest.mark.parametrize("name", ["task_bus", "task_bus.signals", "task_bus.testing"])
def test_the_face_is_sorted_and_complete(name):
    module = import_module(name)

    # Constants first, as the linter sorts it.
    assert module.__all__ == sorted(module.__all__, key=lambda one: (not one.isupper(), one))
    assert all(hasattr(module, one) for one in module.__all__)


def test_signals_give_no_way_to_publish_tasks():
    module = import_module("task_bus.signals")

    assert not {"TaskBus", "open_bus", "RabbitBus", "MemoryBus"} & set(vars(module))


def test_every_error_says_whether_a_repeat_is_safe():
    assert all(isinstance(error.is_repeat_safe, bool) for error in BusError.__subclasses__())
    assert UnroutableError("tasks.x.low").queue == "tasks.x.low"


@pytest.mark.parametrize("priority", list(Priority))
def test_a_broker_queue_is_named_by_queue_and_priority(priority):
    assert BrokerQueue("reports", priority).name == f"tasks.reports.{priority.lower()}"


async def test_only_the_first_verdict_on_a_delivery_counts():
    verdicts: list[Verdict] = []
    delivery = Delivery(BrokerQueue("default", Priority.LOW), (), verdicts.append)

    delivery.put_back()
    delivery.ack()

    assert verdicts == [Verdict.PUT_BACK]


@pytest.mark.parametrize("url", ["http://guest:secret@host", "", "amqp"])
def test_a_url_of_another_kind_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="begins with amqp://") as caught:
        open_bus(url, queues=["default"], name="bus")
    with pytest.raises(ValueError, match="begins with amqp://"):
        open_signals(url, name="signals")

    assert "secret" not in str(caught.value)


def test_memory_needs_a_hub():
    with pytest.raises(ValueError, match="MemoryHub"):
        open_bus("memory://", queues=["default"], name="bus")


def test_amqp_needs_none_and_connects_to_nothing_yet():
    bus = open_bus("amqps://guest:guest@nowhere.invalid/", queues=["default"], name="bus", hub=MemoryHub())

    assert not bus.is_connected
