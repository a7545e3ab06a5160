"""Messages that say which tasks are due, through RabbitMQ or within one process. Signals: `task_bus.signals`."""

from task_bus._bus import Subscription, TaskBus
from task_bus._delivery import Delivery
from task_bus._errors import BusError, BusUnavailableError, PublishUnconfirmedError, UnroutableError
from task_bus._memory.hub import MemoryHub
from task_bus._open import open_bus
from task_bus._queues import BrokerQueue

__all__ = [
    "BrokerQueue",
    "BusError",
    "BusUnavailableError",
    "Delivery",
    "MemoryHub",
    "PublishUnconfirmedError",
    "Subscription",
    "TaskBus",
    "UnroutableError",
    "open_bus",
]
