"""Each worker writes every minute which types it offers, so that nothing is rejected during a short absence."""

from __future__ import annotations

import asyncio

from task_runtime import get_logger
from task_store import Offer, StoreError, Workers

_log = get_logger(__name__)
_EVERY_SECONDS = 60.0
_AGAIN_SECONDS = 5.0


class OfferRefresher:
    """Keeps `last_offered_at` of this worker's types in `task_types` fresh."""

    def __init__(self, workers: Workers, offer: Offer) -> None:
        self._workers = workers
        self._offer = offer

    async def run(self) -> None:
        """Write the offer for ever, once a minute."""
        while True:
            pause = _EVERY_SECONDS
            try:
                await self._workers.offer(self._offer)
            except StoreError as error:
                _log.warning("offer_missed", reason=str(error))
                pause = _AGAIN_SECONDS
            await asyncio.sleep(pause)
