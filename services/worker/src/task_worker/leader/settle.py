"""Lets the tasks of a pause that is over begin again.

**Invariants**

- First the marks of the waiting tasks that it covered are taken back: their messages came while it stood, and no worker
  took them. Until that is done nothing that it covered is marked, and for ten seconds the poll leaves it alone. So
  they come by messages again, in their order and by the weights, and the poll finds nothing.
- It runs beside the dispatch, which goes on with all else meanwhile.
"""

from __future__ import annotations

import asyncio
from itertools import product

from task_contracts import Priority
from task_runtime import get_logger
from task_store import Lane, Pauses, StoreError
from task_worker.leader.dispatch import Dispatch
from task_worker.leader.election import Leadership

_log = get_logger(__name__)

_FAILED_SECONDS = 1.0


class Settle:
    """Settles pauses while this worker leads, as soon as the dispatch has seen that one is over.

    Args:
        pauses: the statements, which may take long.
        dispatch: knows when a pause is over and which lanes there are, and is woken at the end.
        leadership: of this worker.

    """

    def __init__(self, pauses: Pauses, dispatch: Dispatch, leadership: Leadership) -> None:
        self._pauses = pauses
        self._dispatch = dispatch
        self._leadership = leadership

    async def run(self) -> None:
        """Settle for ever, while this worker leads."""
        while True:
            await self._leadership.begun.wait()
            await self._dispatch.pause_is_over.wait()
            try:
                await self.settle()
            except StoreError as error:
                _log.warning("settle_failed", reason=str(error))
                await asyncio.sleep(_FAILED_SECONDS)

    async def settle(self) -> None:
        """Settle all pauses that are over now. Safe to repeat, and for two leaders at once.

        Raises:
            StoreError: the database did not answer; none of them is settled.

        """
        over = await self._pauses.over()
        offered = self._dispatch.offers.types_by_queue
        lanes = [Lane(q, p, t) for q, types in offered.items() for p, t in product(Priority, types)]
        for pause in over:
            await self._pauses.take_back_marks(pause, lanes)
        await self._pauses.settle([pause.id for pause in over])
        for pause in over:
            _log.info("pause_settled", pause_id=str(pause.id), queue=pause.queue, type=pause.type)
        self._dispatch.resume(lane for lane in lanes if any(pause.covers(lane) for pause in over))
