"""Opens the bus that a URL names: over RabbitMQ, or in memory."""

from __future__ import annotations

from collections.abc import Sequence

from task_bus._bus import TaskBus
from task_bus._memory.bus import MemoryBus
from task_bus._memory.hub import MemoryHub
from task_bus._rabbit.bus import RabbitBus


def open_bus(url: str, *, queues: Sequence[str], name: str, hub: MemoryHub | None = None) -> TaskBus:
    """Return a bus, which `async with` connects. Nothing is connected here.

    Args:
        url: `amqp://` or `amqps://`, with `?heartbeat=` (seconds, 10 unless given) and aio-pika's options for TLS if
            wanted; or `memory://`.
        queues: the name of every queue that will be published to or consumed.
        name: how the broker's list of connections calls them.
        hub: required for `memory://`: the one that the other end has too.

    Raises:
        ValueError: another kind of URL, or `memory://` without a hub.

    """
    memory = hub_for(url, hub)
    return MemoryBus(memory, queues=queues) if memory is not None else RabbitBus(url, queues=queues, name=name)


def hub_for(url: str, hub: MemoryHub | None) -> MemoryHub | None:
    """Return `hub` for `memory://`, None for the URL of a broker.

    Raises:
        ValueError: another kind of URL, or `memory://` without a hub. The text leaves out the URL: it holds a password.

    """
    if url.startswith(("amqp://", "amqps://")):
        return None
    if not url.startswith("memory://"):
        raise ValueError("a broker URL begins with amqp://, amqps:// or memory://")
    if hub is None:
        raise ValueError("memory:// connects the parts of one process only: both ends need the same MemoryHub")
    return hub
