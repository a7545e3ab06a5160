"""How the poll's scan shrinks and grows; the claims themselves are tested on a real database."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from task_contracts import Priority
from task_store import Claims, DatabaseUnavailableError, Offer
from task_store.batch_limit import BatchLimit

OVERDUE = timedelta(seconds=2)
WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}


class Scans:
    """Stands for the database of a scan: notes how much is asked for, and answers or not."""

    def __init__(self) -> None:
        self.answers = False
        self.asked: list[dict[str, Any]] = []

    async def fetch(self, _: object, values: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(values)
        if not self.answers:
            raise DatabaseUnavailableError("too slow")
        return [{"ids": None, "now": datetime.now(UTC)}]

    @property
    def rows(self) -> list[int]:
        return [len(values["queue"]) * values["candidates"] for values in self.asked]


@pytest.fixture
def scans() -> Scans:
    return Scans()


@pytest.fixture
def claims(scans: Scans) -> Claims:
    types = {f"type{number}": None for number in range(20)}
    database: Any = scans
    claims = Claims(database, database, database, Offer(("default",), types), WEIGHTS)
    claims._low_water.unanswered = lambda: None  # type: ignore[method-assign] # each scan here begins at the beginning
    return claims


async def scan(claims: Claims, times: int) -> None:
    for _ in range(times):
        try:
            await claims.find_overdue(slots=1000, overdue=OVERDUE)
        except DatabaseUnavailableError:
            continue


async def test_a_scan_without_an_answer_is_made_smaller_down_to_one_lane(claims: Claims, scans: Scans) -> None:
    await scan(claims, 12)

    assert scans.rows == sorted(scans.rows, reverse=True)
    assert (scans.rows[0], scans.rows[-1]) == (60 * 67, 4)


async def test_small_scans_read_all_lanes_in_turn_and_of_each_priority_the_same(claims: Claims, scans: Scans) -> None:
    claims._scan_limit = BatchLimit(60)
    scans.answers = True

    await scan(claims, 4)

    read = [lane for values in scans.asked for lane in zip(values["type"], values["priority"], strict=True)]
    assert (len(read), len(set(read))) == (60, 60)
    assert [Counter(values["priority"]) for values in scans.asked] == [dict.fromkeys(map(str, WEIGHTS), 5)] * 4


async def test_a_scan_grows_again_with_each_answer(claims: Claims, scans: Scans) -> None:
    await scan(claims, 12)
    scans.answers = True
    scans.asked.clear()
    await scan(claims, 14)

    assert scans.rows[0] == 4
    assert scans.rows[-1] == 60 * 67
