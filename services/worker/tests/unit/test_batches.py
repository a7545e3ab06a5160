from __future__ import annotations

from collections.abc import Sequence

import pytest

from task_store import BatchLimit, DatabaseUnavailableError, StatementEndedError
from task_worker.leader.batches import in_batches


class Rows:
    """So many rows, of which a statement can do no more than `most` in time."""

    def __init__(self, count: int, most: int, error: DatabaseUnavailableError) -> None:
        self.count = count
        self.most = most
        self.error = error
        self.asked: list[int] = []

    async def pick(self, rows: int) -> Sequence[int]:
        self.asked.append(rows)
        if min(rows, self.count) > self.most:
            raise self.error
        picked = range(min(rows, self.count))
        self.count -= len(picked)
        return picked


async def test_what_the_server_ends_is_repeated_at_once_with_fewer_rows() -> None:
    rows = Rows(10, 3, StatementEndedError("too long"))

    batches = [len(batch) async for batch in in_batches(BatchLimit(8), rows.pick)]

    assert sum(batches) == 10
    assert rows.asked == [8, 4, 2, 4, 2, 4, 2, 4, 2, 4]


async def test_what_is_ended_over_one_row_is_an_error() -> None:
    rows = Rows(10, 0, StatementEndedError("too long"))

    with pytest.raises(StatementEndedError):
        await anext(in_batches(BatchLimit(4), rows.pick))
    assert rows.asked == [4, 2, 1]


async def test_without_an_answer_the_next_call_begins_with_fewer_rows() -> None:
    rows, limit = Rows(10, 0, DatabaseUnavailableError("away")), BatchLimit(8)

    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError):
            await anext(in_batches(limit, rows.pick))

    assert rows.asked == [8, 4]
