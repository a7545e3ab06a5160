"""How many tasks the leader marks in one statement."""

from __future__ import annotations

from typing import Any

import pytest

from task_contracts import Priority
from task_store import DatabaseUnavailableError, Dispatches, DispatchQuota, LiveOffers

OFFERS = LiveOffers({"default": ("echo",)}, {"default": 1})


class SilentDatabase:
    """Answers no statement, and remembers how many tasks of each broker queue each one was to mark."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    async def fetch(self, _: Any, values: Any) -> Any:
        self.asked.append(values["ids"])
        raise DatabaseUnavailableError("no answer")


async def test_whole_mark_that_got_no_answer_is_not_asked_for_again_as_it_was() -> None:
    database = SilentDatabase()
    dispatches = Dispatches(database, database)  # type: ignore[arg-type] # the call that is used
    quotas = [DispatchQuota("default", priority, ids) for priority, ids in zip(Priority, (400, 100, 9), strict=True)]

    for _ in range(3):
        with pytest.raises(DatabaseUnavailableError):
            await dispatches.mark_whole(quotas, OFFERS)

    assert database.asked == [[400, 100, 9], [200, 100, 9], [100, 100, 9]]
