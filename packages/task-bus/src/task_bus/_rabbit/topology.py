"""Declares everything that this package has in the broker; no other module declares anything.

    exchange tasks    direct   ─► tasks.<queue>.<high|medium|low>   quorum, durable
    dead letters               ─► tasks.dead                        quorum, durable, nothing consumes it
    exchange signals  direct   ─► one exclusive queue for each kind that a process listens to

The broker refuses to declare a queue again with other arguments (406), so a changed argument needs a new name.
RabbitMQ 3.10 to 4.x accept these declarations.
"""

from __future__ import annotations

from collections.abc import Sequence

from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity

from task_bus._errors import UnroutableError
from task_bus._queues import DEAD_MAX, BrokerQueue
from task_contracts import SignalKind

TASKS = "tasks"
SIGNALS = "signals"
DEAD = "tasks.dead"

DEAD_BYTES_MAX = 64 << 20

_TASK_QUEUE: dict[str, str | int] = {
    "x-queue-type": "quorum",
    # With a limit, what is put back goes to the head of its queue (3.10 puts it at the end without one), and each
    # return counts: 4.x drops after 20 unless told otherwise. A worker's death is counted on the row instead.
    "x-delivery-limit": 1_000_000,
    # Through the default exchange, so that no binding can get lost.
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": DEAD,
}
_DEAD_QUEUE: dict[str, str | int] = {
    "x-queue-type": "quorum",
    "x-max-length": DEAD_MAX,
    "x-max-length-bytes": DEAD_BYTES_MAX,
    "x-overflow": "drop-head",
}

SIGNALS_MAX = 10_000
"""Signals that may wait for a slow listener. At most one `due` waits: a second adds nothing."""
SIGNALS_BYTES_MAX = 16 << 20
"""Their bodies together: one with 500 ids has 20 KB."""


async def declare_tasks(channel: AbstractChannel, queues: Sequence[BrokerQueue]) -> AbstractExchange:
    """Declare the exchange and the queues of messages, and return the exchange to publish to. Safe to repeat."""
    exchange = await channel.declare_exchange(TASKS, durable=True)
    await channel.declare_queue(DEAD, durable=True, arguments={**_DEAD_QUEUE})
    for queue in queues:
        declared = await channel.declare_queue(queue.name, durable=True, arguments={**_TASK_QUEUE})
        await declared.bind(exchange, queue.name)
    return exchange


async def count_ready(channel: AbstractChannel, *, queue: BrokerQueue) -> int:
    """Return how many messages are ready in `queue`.

    Raises:
        UnroutableError: there is no such queue, and the broker has closed the channel to say so.

    """
    try:
        declared = await channel.declare_queue(queue.name, passive=True)
    except ChannelNotFoundEntity:
        raise UnroutableError(queue.name) from None
    return declared.declaration_result.message_count or 0


async def declare_signals(channel: AbstractChannel) -> AbstractExchange:
    """Declare the exchange that signals are sent to, and return it. Safe to repeat."""
    return await channel.declare_exchange(SIGNALS, durable=True)


async def declare_listener(channel: AbstractChannel, kind: SignalKind) -> AbstractQueue:
    """Declare a queue that gets signals of `kind` until its connection ends, and return it."""
    limit = 1 if kind is SignalKind.DUE else SIGNALS_MAX
    queue = await channel.declare_queue(
        exclusive=True,
        auto_delete=True,
        arguments={"x-max-length": limit, "x-max-length-bytes": SIGNALS_BYTES_MAX, "x-overflow": "drop-head"},
    )
    await queue.bind(SIGNALS, kind.value)
    return queue
