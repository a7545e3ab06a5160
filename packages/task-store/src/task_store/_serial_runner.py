"""Runs batches one after another, in the order in which they came, and forgets what nobody waits for any more.

**Invariants**

- One batch runs at a time.
- A call whose caller has given up is dropped before each batch, wherever it waits: so what waits is bounded by the
  callers there are, even while the database is frozen, and is not stored once it thaws.
- If the event loop ends, nobody waits for ever: every call is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class Call(Generic[Item, Answer]):
    """One item, how large it is, and the future for which its caller waits. The caller gave up if that is done."""

    item: Item
    size_bytes: int
    future: asyncio.Future[Answer]


class SerialRunner(Generic[Item, Answer]):
    """Calls `run` with one batch after another, as long as any waits.

    Args:
        run: answers every call of a batch; raises nothing.
        take: removes the next batch from those that wait, of which there is at least one.

    """

    def __init__(
        self,
        run: Callable[[list[Call[Item, Answer]]], Awaitable[None]],
        take: Callable[[deque[list[Call[Item, Answer]]]], list[Call[Item, Answer]]] = deque.popleft,
    ) -> None:
        self._run = run
        self._take = take
        self._waiting: deque[list[Call[Item, Answer]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    def add(self, batch: list[Call[Item, Answer]]) -> None:
        """Let a batch wait for its turn, which comes at once if nothing runs."""
        self._waiting.append(batch)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run_all())

    async def wait_idle(self) -> bool:
        """Wait until nothing runs or waits; return whether there was anything to wait for."""
        had_any = self._runner is not None
        while self._runner is not None:
            await asyncio.wait([self._runner])
        return had_any

    async def _run_all(self) -> None:
        running: list[Call[Item, Answer]] = []
        try:
            while running := self._next():
                await self._run(running)
        except BaseException:  # the event loop ends: callers must not wait for ever
            for call in chain(running, *self._waiting):
                call.future.cancel()
            self._waiting.clear()
            raise
        finally:
            self._runner = None

    def _next(self) -> list[Call[Item, Answer]]:
        still_wanted = ([call for call in batch if not call.future.done()] for batch in self._waiting)
        self._waiting = deque(batch for batch in still_wanted if batch)
        return self._take(self._waiting) if self._waiting else []
