"""Repeats a statement that picks rows by itself, until there are no more: with fewer rows after no answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from task_store import BatchLimit, DatabaseUnavailableError, StatementEndedError

Row = TypeVar("Row")


async def in_batches(
    limit: BatchLimit, statement: Callable[[int], Awaitable[Sequence[Row]]]
) -> AsyncIterator[Sequence[Row]]:
    """Call `statement` with how many rows it may pick, and yield those that it picked, until it picks fewer.

    If the server itself ended it, it is repeated at once with half as many rows.

    Raises:
        StoreError: the statement failed, or was ended over a single row. After no answer the next call begins with half
            as many rows.

    """
    while True:
        rows = limit.items
        try:
            picked = await statement(rows)
        except DatabaseUnavailableError as error:
            limit.unanswered(rows)
            if isinstance(error, StatementEndedError) and rows > 1:
                continue
            raise
        limit.answered(len(picked))
        if picked:
            yield picked
        if len(picked) < rows:  # one more look would walk the whole index for nothing
            return
