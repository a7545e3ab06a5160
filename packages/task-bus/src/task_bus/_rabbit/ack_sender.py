"""Sends verdicts on deliveries to the broker, in the background.

**Invariants**

- Verdicts reach the broker in the order in which they were given.
- An `AckSender` belongs to one connection and is closed with it. A verdict for an older connection goes nowhere: the
  broker took the message back when it lost that connection.
"""

from __future__ import annotations

import asyncio
import logging
from typing import assert_never

from aio_pika.abc import AbstractIncomingMessage

from task_bus._delivery import Verdict

_log = logging.getLogger(__name__)


class AckSender:
    """Accepts verdicts without waiting, and sends them from a task."""

    def __init__(self) -> None:
        self._pending: asyncio.Queue[tuple[AbstractIncomingMessage, Verdict]] = asyncio.Queue()
        self._is_open = True

    def settle(self, message: AbstractIncomingMessage, verdict: Verdict) -> None:
        """Send `verdict` on `message` in the background. Never raises, never waits."""
        if self._is_open:
            self._pending.put_nowait((message, verdict))
        else:
            _log.debug("verdict_dropped", extra={"verdict": verdict.value})

    async def flush(self) -> None:
        """Wait until all verdicts so far have been sent."""
        if self._is_open:
            await self._pending.join()

    async def run(self) -> None:
        """Send verdicts until cancelled or until the connection is lost."""
        try:
            while True:
                message, verdict = await self._pending.get()
                await _send(message, verdict)
                self._pending.task_done()
        finally:
            self._is_open = False


async def _send(message: AbstractIncomingMessage, verdict: Verdict) -> None:
    # The broker answers none of these: they return once they are written.
    match verdict:
        case Verdict.ACK:
            await message.ack()
        case Verdict.PUT_BACK:
            await message.nack(requeue=True)
        case Verdict.DEAD_LETTER:
            await message.reject(requeue=False)
        case _:
            assert_never(verdict)
