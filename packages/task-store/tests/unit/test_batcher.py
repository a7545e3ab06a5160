from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from task_store import DatabaseUnavailableError, UnstorableValuesError
from task_store._batcher import Batcher


class Statement:
    """Stands for the statement: remembers its batches, and can be held up."""

    def __init__(self, answer: Callable[[Sequence[Any]], Sequence[Any]] = lambda batch: [f"<{one}>" for one in batch]):
        self.batches: list[list[Any]] = []
        self.running = 0
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._answer = answer

    async def __call__(self, batch: Sequence[Any]) -> Sequence[Any]:
        self.batches.append(list(batch))
        self.running += 1
        assert self.running == 1, "one statement at a time"
        self.began.set()
        try:
            await self.go_on.wait()
            return self._answer(batch)
        finally:
            self.running -= 1

    def hold(self) -> None:
        self.began.clear()
        self.go_on.clear()


@pytest.fixture
def statement() -> Statement:
    return Statement()


@pytest.fixture
def batcher(statement: Statement) -> Batcher[Any, Any]:
    return Batcher(statement)


def start(batcher: Batcher[Any, Any], *items: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(batcher.submit(item)) for item in items]


async def outcomes(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)


async def test_lone_call_runs_by_itself_at_once(batcher: Batcher[Any, Any], statement: Statement) -> None:
    assert await batcher.submit("a") == "<a>"
    assert await batcher.submit("b") == "<b>"
    assert statement.batches == [["a"], ["b"]]


async def test_what_comes_while_a_statement_runs_goes_into_the_next(
    batcher: Batcher[Any, Any], statement: Statement
) -> None:
    statement.hold()
    first = start(batcher, "a")
    await statement.began.wait()
    later = start(batcher, "b", "c", "d")
    await asyncio.sleep(0)
    statement.go_on.set()

    assert await outcomes([*first, *later]) == ["<a>", "<b>", "<c>", "<d>"]
    assert statement.batches == [["a"], ["b", "c", "d"]]


async def test_batch_holds_no_more_than_it_may(statement: Statement) -> None:
    batcher = Batcher(statement, max_items=2)

    assert await outcomes(start(batcher, *"abcde")) == ["<a>", "<b>", "<c>", "<d>", "<e>"]
    assert statement.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_refused_batch_is_repeated_item_by_item_so_that_one_fails_alone() -> None:
    def refuse_b(batch: Sequence[str]) -> Sequence[str]:
        if "b" in batch:
            raise UnstorableValuesError("no", constraint="b")
        return [one.upper() for one in batch]

    statement = Statement(refuse_b)
    a, b, c = await outcomes(start(Batcher(statement), *"abc"))

    assert (a, c) == ("A", "C")
    assert isinstance(b, UnstorableValuesError)
    assert statement.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_lone_item_that_is_refused_is_not_repeated() -> None:
    def refuse(_: Sequence[str]) -> Sequence[str]:
        raise UnstorableValuesError("no")

    statement = Statement(refuse)

    with pytest.raises(UnstorableValuesError):
        await Batcher(statement).submit("a")
    assert statement.batches == [["a"]]


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), RuntimeError("a bug")])
async def test_any_other_error_reaches_every_caller_and_the_next_batch_runs(error: Exception) -> None:
    failures = [error]

    def fail_once(batch: Sequence[str]) -> Sequence[str]:
        if failures:
            raise failures.pop()
        return batch

    batcher = Batcher(Statement(fail_once))

    assert await outcomes(start(batcher, "a", "b")) == [error, error]
    assert await batcher.submit("c") == "c"


async def test_caller_that_stops_waiting_loses_the_answer_and_hinders_nobody(
    batcher: Batcher[Any, Any], statement: Statement
) -> None:
    statement.hold()
    gone, stays = start(batcher, "a", "b")
    await statement.began.wait()
    waiting_too_long, next_one = start(batcher, "c", "d")
    await asyncio.sleep(0)

    gone.cancel()
    waiting_too_long.cancel()
    statement.go_on.set()

    answers = await outcomes([gone, stays, waiting_too_long, next_one])
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, str, asyncio.CancelledError, str]
    assert statement.batches == [["a", "b"], ["c", "d"]]


async def test_closing_waits_for_all_that_was_submitted(batcher: Batcher[Any, Any], statement: Statement) -> None:
    await batcher.aclose()  # nothing to wait for
    statement.hold()
    calls = start(batcher, "a")
    await statement.began.wait()
    calls += start(batcher, "b")
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.aclose())
    await asyncio.sleep(0)
    was_open = not closing.done()

    statement.go_on.set()
    await closing

    assert was_open
    assert all(call.done() for call in calls)
    assert await outcomes(calls) == ["<a>", "<b>"]


async def test_nobody_waits_for_ever_when_the_loop_ends_under_a_statement(
    batcher: Batcher[Any, Any], statement: Statement
) -> None:
    statement.hold()
    calls = start(batcher, "a", "b")
    await statement.began.wait()
    calls += start(batcher, "c")
    await asyncio.sleep(0)

    batcher._runner.cancel()  # as asyncio.run does with every task at its end

    assert {type(outcome) for outcome in await outcomes(calls)} == {asyncio.CancelledError}
    statement.go_on.set()
    assert await batcher.submit("d") == "<d>"


async def test_nobody_waits_for_ever_when_the_loop_ends_while_a_batch_is_repeated() -> None:
    def refuse_the_batch(batch: Sequence[str]) -> Sequence[str]:
        statement.hold()  # the first of the repeats
        raise UnstorableValuesError("no")

    statement = Statement(refuse_the_batch)
    batcher = Batcher(statement)
    calls = start(batcher, "a", "b", "c")
    await statement.began.wait()
    assert statement.batches == [["a", "b", "c"], ["a"]]

    batcher._runner.cancel()

    assert {type(outcome) for outcome in await outcomes(calls)} == {asyncio.CancelledError}
