"""Runs concurrent calls as one statement.

**Invariants**

- One statement runs at a time. What is submitted meanwhile goes into the next one. A single call waits for nothing.
- Every submitted item gets exactly one answer. If its caller stops waiting, the answer is lost, the effect is not.
- A batch that the database refuses is repeated item by item, so that only the bad item fails. For that a statement must
  write all of a batch or nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from task_store.errors import UnstorableValuesError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Calls `run` with batches of submitted items; it must return one answer for each item, in the same order."""

    def __init__(self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, max_items: int = 500) -> None:
        self._run = run
        self._max_items = max_items
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Add `item` to the next batch and return its answer.

        Raises:
            StoreError: raised by the statement for the whole batch, or for this item alone if it was refused.

        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run_all())
        return await future

    async def aclose(self) -> None:
        """Wait until every submitted item has its answer."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run_all(self) -> None:
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        try:
            while self._waiting:
                size = min(len(self._waiting), self._max_items)
                batch = [self._waiting.popleft() for _ in range(size)]
                await self._run_batch(batch)
        except BaseException:  # the event loop ends: callers must not wait for ever
            for _, future in (*batch, *self._waiting):
                future.cancel()
            self._waiting.clear()
            raise
        finally:
            self._runner = None

    async def _run_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._run([item for item, _ in batch])
        except UnstorableValuesError as error:
            if len(batch) == 1:
                _answer(batch, [error])
                return
            for one in batch:
                await self._run_batch([one])
        except Exception as error:  # noqa: BLE001 # not swallowed: each caller gets it
            _answer(batch, [error] * len(batch))
        else:
            _answer(batch, answers)


def _answer(batch: list[tuple[Item, asyncio.Future[Answer]]], answers: Sequence[Answer | Exception]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():  # its caller has stopped waiting
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
