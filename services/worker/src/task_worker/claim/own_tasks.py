"""Tasks that the worker which leads takes at once, without a message: those that have just become due.

What can begin here needs no queue: on an idle system a task has its mark, the broker's disk and its delivery still
before it otherwise, two thirds of the time until its code begins.

**Invariants**

- It takes nothing while anything else waits here: that has its turn by the weights.
- It takes no more than there are free slots, and, where other workers serve the queue too, nothing while anything runs
  here: they may have more room.
- It changes nothing: the ids are tried by the next claim, and what that does not get is dispatched as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots


class OwnTasks:
    """Decides what this worker takes for itself.

    Args:
        buffer, slots: of this worker.
        queues: those that it serves.

    """

    def __init__(self, buffer: PrefetchBuffer, slots: Slots, queues: Collection[str]) -> None:
        self._buffer = buffer
        self._slots = slots
        self._queues = frozenset(queues)

    def take(self, queue: str, ids: Sequence[UUID], workers: int) -> bool:
        """Let the next claim try these ids, if there is nothing else to do; return whether it will.

        Args:
            queue: that of the tasks.
            ids: of tasks that have just become due.
            workers: how many serve the queue.

        """
        is_idle = self._buffer.is_empty and (workers <= 1 or not self._slots.running)
        if not ids or queue not in self._queues or not is_idle or len(ids) > self._slots.free:
            return False
        self._buffer.put_first(ids)
        return True
