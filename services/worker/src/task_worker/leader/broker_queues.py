"""Fills the broker queues for the leader: looks how full they are, and publishes ids within their windows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from task_bus import BrokerQueue, BusError, TaskBus
from task_contracts import Priority
from task_runtime import get_logger
from task_store import BATCH_BYTES, DispatchQuota, LiveOffers, MarkedTask
from task_worker.leader.queue_window import QueueWindows

_log = get_logger(__name__)


class BrokerQueues:
    """All broker queues of a bus.

    Args:
        bus: where to publish.
        windows: of all broker queues.
        publish_seconds: how long the broker may take to confirm a message.

    """

    def __init__(self, bus: TaskBus, windows: QueueWindows, publish_seconds: float) -> None:
        self._bus = bus
        self._windows = windows
        self._publish_seconds = publish_seconds

    @property
    def is_connected(self) -> bool:
        """Whether the broker would take messages now."""
        return self._bus.is_connected

    def reset(self) -> None:
        """Forget how full they are: another leader may have filled them since."""
        self._windows.reset()

    async def look(self, offers: LiveOffers) -> None:
        """Ask for the depth where it may have changed much. Where there is no answer, what was known stands."""

        async def look_at(queue: BrokerQueue) -> None:
            window = self._windows[queue]
            try:
                window.looked(await self._bus.depth(queue), offers.workers_by_queue.get(queue.queue, 1))
            except BusError as error:
                again = window.look_failed()
                _log.warning("depth_unanswered", broker_queue=queue.name, reason=str(error), again_in_seconds=again)

        await asyncio.gather(*map(look_at, self._windows.to_look_at()))

    def quotas(self, queues: Collection[str]) -> list[DispatchQuota]:
        """Return how many ids this round may mark in each broker queue of these queues that has room."""
        return self._windows.quotas(queues)

    def has_full(self, queues: Collection[str], quotas: Collection[DispatchQuota]) -> bool:
        """Return whether some broker queue of these queues got no quota."""
        return len(quotas) < len(self._windows.served(queues))

    async def publish(self, marked: Mapping[tuple[str, Priority], Sequence[MarkedTask]]) -> bool:
        """Publish marked ids, in messages of the size that fits their queue; return whether all are confirmed."""
        sent = await asyncio.gather(*(self._publish(BrokerQueue(*queue), tasks) for queue, tasks in marked.items()))
        return all(sent)

    async def _publish(self, queue: BrokerQueue, tasks: Sequence[MarkedTask]) -> bool:
        messages = _messages(tasks, self._windows[queue].message_ids)
        sent = await asyncio.gather(*(self._publish_one(queue, message) for message in messages))
        if lost := sent.count(False):
            _log.warning("messages_lost", broker_queue=queue.name, messages=lost)
        return not lost

    async def _publish_one(self, queue: BrokerQueue, ids: Sequence[UUID]) -> bool:
        self._windows[queue].published(len(ids))
        try:
            await self._bus.publish(queue, ids, timeout=self._publish_seconds)
        except BusError:
            return False  # marked and perhaps not published: the poll takes them
        return True


def _messages(tasks: Sequence[MarkedTask], max_ids: int) -> list[list[UUID]]:
    """Return the ids of each message: as many as one claim takes, by their number and by the size of their payloads."""
    messages: list[list[UUID]] = []
    room = 0
    for task in tasks:
        room -= task.payload_bytes
        if not messages or len(messages[-1]) == max_ids or room < 0:
            messages.append([])
            room = BATCH_BYTES - task.payload_bytes
        messages[-1].append(task.id)
    return messages
