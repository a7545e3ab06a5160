"""Calls that share a statement: what is too much for the server fails alone, and nothing is stored twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import pytest

from task_contracts import Task, TaskError
from task_store import (
    Attempts,
    Database,
    Ended,
    Ending,
    HeldRow,
    NewTask,
    StatementEndedError,
    Tasks,
    batch_limit,
    new_lease_token,
)
from task_store.testing import Table

CULPRIT = "culprit"
_SLOW_ROW = f"""
CREATE FUNCTION slow_row() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF new.name = '{CULPRIT}' AND current_setting('application_name') = 'impatient' THEN PERFORM pg_sleep(60); END IF;
    RETURN new;
END $$;
CREATE TRIGGER slow_row BEFORE INSERT OR UPDATE OF result ON tasks FOR EACH ROW EXECUTE FUNCTION slow_row()
"""


@pytest.fixture
async def impatient(database: Database) -> AsyncIterator[Database]:
    """The shared database, whose server ends statements after a second."""
    async with Database(
        database.url, deadline_seconds=20, statement_timeout_seconds=1.0, application_name="impatient"
    ) as impatient:
        yield impatient


@pytest.fixture
async def culprits(table: Table) -> AsyncIterator[None]:
    """Each statement of `impatient` that writes a task named "culprit" takes longer than the server lets it."""
    await table.execute(_SLOW_ROW)
    yield
    await table.execute("DROP FUNCTION slow_row CASCADE")


@dataclass
class Counted:
    """Counts the statements that run."""

    database: Database
    rows: list[int]

    async def fetch(self, statement: Any, values: Any) -> Any:
        self.rows.append(len(values["id"]))
        return await self.database.fetch(statement, values)


@pytest.mark.usefixtures("culprits")
async def test_create_that_the_server_ends_fails_alone_and_the_others_are_stored_once(
    impatient: Database, table: Table, new_task: Callable[..., NewTask]
) -> None:
    tasks = Tasks(impatient)
    news = [new_task(name=name) for name in ("first", "a", "b", CULPRIT, "c", "d")]

    outcomes = await asyncio.gather(*(tasks.create(new) for new in news), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes].count(StatementEndedError) == 1
    assert isinstance(outcomes[3], StatementEndedError)
    stored = {row["id"] for row in await table.fetch("SELECT id FROM tasks")}
    assert stored == {outcome.id for outcome in outcomes if not isinstance(outcome, BaseException)}
    assert len(stored) == 5


@pytest.mark.usefixtures("culprits")
async def test_create_whose_caller_gave_up_is_not_stored_when_its_half_comes_to_its_turn(
    impatient: Database, table: Table, new_task: Callable[..., NewTask]
) -> None:
    tasks = Tasks(impatient)
    calls = [asyncio.create_task(tasks.create(new_task(name=name))) for name in (CULPRIT, "a", "given up", "given up")]
    async with asyncio.timeout(20):
        while not tasks._creations._plain._halved._waiting:  # noqa: ASYNC110 # until the server has ended the first statement
            await asyncio.sleep(0.01)

    for call in calls[2:]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await tasks.aclose()

    assert await table.fetch("SELECT name FROM tasks") == [{"name": "a"}]


async def test_large_payloads_are_created_in_batches_of_bytes(
    database: Database, new_task: Callable[..., NewTask]
) -> None:
    counted = Counted(database, [])
    tasks = Tasks(counted)  # type: ignore[arg-type] # the call that is used
    payload = {"hex": token_hex(500_000)}

    created = await asyncio.gather(*(tasks.create(new_task(payload=payload)) for _ in range(10)))

    assert counted.rows == [4, 4, 2]
    assert len({task.id for task in created}) == 10


@pytest.mark.parametrize(
    "texts",
    [
        {"name": "\U0001f600" * 200, "description": "\U0001f600" * 10_000},
        {"labels": {f"{n:063}": "\U0001f600" * 200 for n in range(16)}},
    ],
    ids=["description", "labels"],
)
async def test_texts_beside_the_payloads_count_too(
    database: Database, new_task: Callable[..., NewTask], monkeypatch: pytest.MonkeyPatch, texts: dict[str, Any]
) -> None:
    monkeypatch.setattr(batch_limit, "BATCH_BYTES", 100_000)
    counted = Counted(database, [])
    tasks = Tasks(counted)  # type: ignore[arg-type] # the call that is used

    await asyncio.gather(*(tasks.create(new_task(**texts)) for _ in range(12)))

    size_bytes = len(json.dumps(texts, ensure_ascii=False).encode())
    assert max(counted.rows) == 100_000 // size_bytes


async def test_labels_that_no_json_can_hold_fail_their_own_create_alone(
    tasks: Tasks, new_task: Callable[..., NewTask]
) -> None:
    news = [new_task() for _ in range(3)]
    news[1].asked.labels["lone"] = "\ud800"  # past the gate

    outcomes = await asyncio.gather(*(tasks.create(new) for new in news), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [Task, TypeError, Task]


@pytest.fixture
def endings(table: Table) -> Callable[..., Awaitable[list[Ending]]]:
    """Put one running task of each name, and make the COMPLETE of each, with this result."""

    async def make(*names: str, result: str = "1") -> list[Ending]:
        worker, token = await table.worker(), new_lease_token()
        ids = [await table.running(worker, name=name, lease_token=token) for name in names]
        return [Ending.complete(HeldRow(task_id, token, is_cancel_requested=False), result) for task_id in ids]

    return make


@pytest.mark.usefixtures("culprits")
async def test_record_that_the_server_ends_fails_alone_and_later_ones_pass_beside_it(
    impatient: Database, endings: Callable[..., Awaitable[list[Ending]]]
) -> None:
    attempts = Attempts(impatient)
    *batch, later = await endings("a", CULPRIT, "b", "c", "later")

    outcomes = await asyncio.gather(*(attempts.record(ending) for ending in batch), return_exceptions=True)
    again = asyncio.create_task(attempts.record(batch[1], alone=True))
    beside = await attempts.record(later)
    was_running = not again.done()

    assert [type(outcome) for outcome in outcomes] == [Ended, StatementEndedError, Ended, Ended]
    assert isinstance(beside, Ended)
    assert was_running
    with pytest.raises(StatementEndedError):
        await again


async def test_large_results_are_recorded_in_batches_of_bytes(
    database: Database, endings: Callable[..., Awaitable[list[Ending]]]
) -> None:
    counted = Counted(database, [])
    attempts = Attempts(counted)  # type: ignore[arg-type] # the call that is used
    wide = '"' + "\u6e2c" * 340_000 + '"'  # three bytes each

    ended = await asyncio.gather(*(attempts.record(ending) for ending in await endings(*"abcdef", result=wide)))

    assert counted.rows == [4, 2]
    assert all(ended)


async def test_messages_of_errors_are_recorded_in_batches_of_bytes(
    database: Database, endings: Callable[..., Awaitable[list[Ending]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_limit, "BATCH_BYTES", 20_000)
    counted = Counted(database, [])
    attempts = Attempts(counted)  # type: ignore[arg-type] # the call that is used
    error = TaskError(code="handler_error", message="\U0001f600" * 2_000)

    failed = [Ending.fail(ending, error) for ending in await endings(*"abcd")]
    ended = await asyncio.gather(*(attempts.record(ending) for ending in failed))

    assert counted.rows == [2, 2]
    assert all(ended)
