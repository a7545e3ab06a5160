"""How the poll's scan shrinks and grows, and what rests; the claims themselves are tested on a real database."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from task_contracts import Priority
from task_store import Claim, Claims, DatabaseUnavailableError, NotExecutedError, Offer, StoreError
from task_store._statements import claims as statements
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
        return [{"ids": None, "now": datetime.now(UTC), "paused": []}]

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


class Refusing(Scans):
    """Answers scans, and refuses each claim with the same error."""

    def __init__(self, error: StoreError) -> None:
        super().__init__()
        self.answers = True
        self.error = error

    async def fetch(self, statement: object, values: dict[str, Any]) -> list[dict[str, Any]]:
        if statement is statements.OVERDUE:
            return await super().fetch(statement, values)
        raise self.error


@pytest.mark.parametrize(
    ("error", "resting"), [(StoreError("a trigger"), 1), (NotExecutedError("the database is read-only"), 0)]
)
async def test_task_rests_for_what_failed_and_not_for_what_was_not_executed(error: StoreError, resting: int) -> None:
    database: Any = Refusing(error)
    claims = Claims(database, database, database, Offer(("default",), {"echo": None}), WEIGHTS)
    task_id = uuid4()

    for _ in range(2):
        with pytest.raises(type(error)):
            await claims.by_id(uuid4(), [task_id], uuid4())
        await scan(claims, 1)

    assert len(database.asked[-1]["resting"]) == resting


def test_the_columns_of_a_claim_are_its_fields_in_their_order() -> None:
    suspect, by_id = (list(one.sql.exported_columns.keys()) for one in (statements.SUSPECT, statements.BY_ID))

    assert suspect == list(Claim._fields)
    assert by_id == [*Claim._fields, "left"]
