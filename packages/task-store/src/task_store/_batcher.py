"""Runs concurrent calls as one statement, bounded in items and in bytes.

**Invariants**

- A single call waits for nothing. What is submitted while a statement runs goes into the next one.
- Every submitted item whose caller still waits gets exactly one answer. What its caller has given up is not sent; the
  effect of a statement under way is not lost.
- No batch without an answer is sent again as it was, and none is sent again in an outage: every caller gets the error.
- A batch that the server refuses, or ends itself (others are answered then), is halved until what fails fails alone.
  The halves run beside the new batches, one at a time, so that they keep no new item waiting. For that a statement must
  write all of a batch or nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from task_store._patience import Patience
from task_store._serial_runner import Call, SerialRunner
from task_store.batch_limit import BatchLimit
from task_store.errors import ContentionError, DatabaseUnavailableError, StatementEndedError, UnstorableValuesError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Calls `run` with batches of submitted items.

    Args:
        run: must return one answer for each item, in the same order. After a ContentionError, such as a deadlock, it is
            called once more with the same items: nothing was written then.
        size_bytes: how large an item is. A batch has at most `BATCH_BYTES`, or a single item.
        max_items: how many items a batch has at most; fewer after no answer.

    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        size_bytes: Callable[[Item], int] = lambda _: 0,
        max_items: int = 500,
    ) -> None:
        self._run = run
        self._size_bytes = size_bytes
        self._limit = BatchLimit(max_items)
        self._patience = Patience()
        self._gathered = SerialRunner[Item, Answer](self._run_gathered, self._gather)
        self._halved = SerialRunner[Item, Answer](self._run_halved)

    async def submit(self, item: Item, *, alone: bool = False, seconds: float | None = None) -> Answer:
        """Add `item` to the next batch and return its answer.

        Args:
            item: what is sent.
            alone: send it by itself, beside the batches: it has failed alone before.
            seconds: how long to wait for an answer, since the last one that anybody got: while many large items are
                being stored, their turn may come late. At most 30 s. None waits for ever.

        Raises:
            StoreError: raised by the statement for the whole batch, or for this item alone if it was refused or ended.
            DatabaseUnavailableError: there was no answer in time.

        """
        call: Call[Item, Answer] = Call(item, self._size_bytes(item), asyncio.get_running_loop().create_future())
        (self._halved if alone else self._gathered).add([call])
        return await (call.future if seconds is None else self._patience.wait(call.future, seconds))

    async def aclose(self) -> None:
        """Wait until every submitted item has its answer."""
        while await self._gathered.wait_idle() or await self._halved.wait_idle():
            pass

    def _gather(self, waiting: deque[list[Call[Item, Answer]]]) -> list[Call[Item, Answer]]:
        fitting = self._limit.fitting(call.size_bytes for (call,) in waiting)
        return [waiting.popleft()[0] for _ in range(fitting)]

    async def _run_gathered(self, batch: list[Call[Item, Answer]]) -> None:
        error = await self._run_batch(batch)
        if error is None:
            self._limit.answered(len(batch))
        elif isinstance(error, DatabaseUnavailableError):
            self._limit.unanswered(len(batch))

    async def _run_halved(self, batch: list[Call[Item, Answer]]) -> None:
        await self._run_batch(batch)

    async def _run_batch(self, batch: list[Call[Item, Answer]]) -> Exception | None:
        """Run a batch, answer it or add its halves, and return the error that it met."""
        try:
            answers = await self._run_twice_if_in_the_way([call.item for call in batch])
        except Exception as error:  # noqa: BLE001 # not swallowed: each caller gets it
            if len(batch) > 1 and isinstance(error, StatementEndedError | UnstorableValuesError):
                middle = (len(batch) + 1) // 2
                self._halved.add(batch[:middle])
                self._halved.add(batch[middle:])
            else:
                _answer(batch, [error] * len(batch))
            return error
        _answer(batch, answers)
        self._patience.answered_at = asyncio.get_running_loop().time()
        return None

    async def _run_twice_if_in_the_way(self, items: Sequence[Item]) -> Sequence[Answer]:
        try:
            return await self._run(items)
        except ContentionError:
            return await self._run(items)


def _answer(batch: list[Call[Item, Answer]], answers: Sequence[Answer | Exception]) -> None:
    for call, answer in zip(batch, answers, strict=True):
        if call.future.done():  # its caller has stopped waiting
            continue
        if isinstance(answer, Exception):
            call.future.set_exception(answer)
        else:
            call.future.set_result(answer)
