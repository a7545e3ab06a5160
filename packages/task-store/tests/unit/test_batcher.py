from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from task_store import (
    BATCH_BYTES,
    ContentionError,
    DatabaseUnavailableError,
    StatementEndedError,
    StoreError,
    UnstorableValuesError,
)
from task_store._batcher import Batcher
from task_store._patience import give_up_at


class Statement:
    """Stands for the statement: remembers its batches, and can be held up. At most two may run at once."""

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
        assert self.running <= 2, "one statement at a time, and one of what failed"
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


def failing_with(culprit: str, error: StoreError) -> Statement:
    """Return a statement that fails for each batch with `culprit` in it."""

    def answer(batch: Sequence[str]) -> Sequence[str]:
        if culprit in batch:
            raise error
        return [one.upper() for one in batch]

    return Statement(answer)


def held_after_failing(error: StoreError) -> Statement:
    """Return a statement that fails for its first batch, and is held up from then on."""
    failures = [error]

    def answer(batch: Sequence[str]) -> Sequence[str]:
        if failures:
            statement.hold()
            raise failures.pop()
        return batch

    return (statement := Statement(answer))


async def began_again(statement: Statement) -> None:
    """Wait until the statement runs for the second time."""
    async with asyncio.timeout(5):
        while len(statement.batches) < 2:  # noqa: ASYNC110 # `began` was set by the first run
            await asyncio.sleep(0)


FAILS_ALONE = [UnstorableValuesError("no", constraint="b"), StatementEndedError("too long", sqlstate="57014")]


@pytest.mark.parametrize("error", FAILS_ALONE, ids=["refused", "ended"])
async def test_batch_with_a_culprit_is_halved_so_that_it_fails_alone(error: StoreError) -> None:
    statement = failing_with("b", error)
    outcome = await outcomes(start(Batcher(statement), *"abcde"))

    assert outcome == ["A", error, "C", "D", "E"]
    assert statement.batches == [[*"abcde"], [*"abc"], [*"de"], [*"ab"], ["c"], ["a"], ["b"]]


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
    assert statement.batches == [["a", "b"], ["d"]]


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

    batcher._gathered._runner.cancel()  # as asyncio.run does with every task at its end

    assert {type(outcome) for outcome in await outcomes(calls)} == {asyncio.CancelledError}
    statement.go_on.set()
    assert await batcher.submit("d") == "<d>"


async def test_nobody_waits_for_ever_when_the_loop_ends_while_a_batch_is_halved() -> None:
    statement = held_after_failing(UnstorableValuesError("no"))
    batcher = Batcher(statement)
    calls = start(batcher, "a", "b", "c")
    await began_again(statement)

    batcher._halved._runner.cancel()

    assert {type(outcome) for outcome in await outcomes(calls)} == {asyncio.CancelledError}
    assert statement.batches == [["a", "b", "c"], ["a", "b"]]


async def test_batch_is_bounded_in_bytes_and_a_single_item_always_fits(statement: Statement) -> None:
    batcher = Batcher[int, str](statement, size_bytes=lambda item: item)
    half = BATCH_BYTES // 2

    await outcomes(start(batcher, half, half, 1, BATCH_BYTES + 1, 2, 3))

    assert statement.batches == [[half, half], [1], [BATCH_BYTES + 1], [2, 3]]


async def test_freeze_leaves_nothing_of_those_who_gave_up_but_the_statement_under_way(
    batcher: Batcher[Any, Any], statement: Statement
) -> None:
    statement.hold()
    under_way = start(batcher, "under way")
    await statement.began.wait()
    gone = start(batcher, *range(2_000))
    stays = start(batcher, "stays")
    await asyncio.sleep(0)

    for call in (*under_way, *gone):
        call.cancel()
    await outcomes([*under_way, *gone])
    statement.go_on.set()

    assert await outcomes(stays) == ["<stays>"]
    assert statement.batches == [["under way"], ["stays"]]


async def test_half_whose_callers_gave_up_is_not_sent() -> None:
    statement = held_after_failing(StatementEndedError("too long"))
    calls = start(Batcher(statement), *"abcd")
    await began_again(statement)
    for call in calls[2:]:
        call.cancel()
    await outcomes(calls[2:])
    statement.go_on.set()

    assert await outcomes(calls[:2]) == ["a", "b"]
    assert statement.batches == [[*"abcd"], [*"ab"]]


async def test_what_is_halved_keeps_no_new_item_waiting() -> None:
    statement = held_after_failing(StatementEndedError("too long"))
    batcher = Batcher(statement)
    halved = start(batcher, "a", "b")
    await began_again(statement)
    held, statement.go_on = statement.go_on, asyncio.Event()
    statement.go_on.set()

    assert await outcomes(start(batcher, "new")) == ["new"]
    assert statement.batches == [["a", "b"], ["a"], ["new"]]
    held.set()
    assert await outcomes(halved) == ["a", "b"]


async def test_item_that_failed_alone_can_be_sent_alone_beside_the_batches(
    batcher: Batcher[Any, Any], statement: Statement
) -> None:
    statement.hold()
    alone = [asyncio.create_task(batcher.submit(item, alone=True)) for item in "ab"]
    together = start(batcher, "c", "d")
    await statement.began.wait()
    await asyncio.sleep(0)
    statement.go_on.set()

    assert await outcomes([*alone, *together]) == ["<a>", "<b>", "<c>", "<d>"]
    assert statement.batches == [["a"], ["c", "d"], ["b"]]


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), StatementEndedError("too long")])
async def test_batches_shrink_after_no_answer_and_grow_again(error: DatabaseUnavailableError) -> None:
    failures: list[Exception] = [error]

    def fail_once(batch: Sequence[int]) -> Sequence[int]:
        if failures:
            raise failures.pop()
        return batch

    statement = Statement(fail_once)
    batcher = Batcher(statement, max_items=8)
    await outcomes(start(batcher, *range(8)))
    statement.batches.clear()
    await outcomes(start(batcher, *range(20)))

    assert [len(batch) for batch in statement.batches] == [4, 8, 8]


async def test_deadlock_is_repeated_once_with_the_same_items() -> None:
    error = ContentionError("deadlock", sqlstate="40P01")
    failures = [error]

    def fail(batch: Sequence[str]) -> Sequence[str]:
        if failures:
            raise failures.pop()
        return batch

    statement = Statement(fail)
    batcher = Batcher(statement)

    assert await outcomes(start(batcher, "a", "b")) == ["a", "b"]
    failures += [error] * 2
    assert await outcomes(start(batcher, "c")) == [error]
    assert statement.batches == [["a", "b"], ["a", "b"], ["c"], ["c"]]


async def test_caller_gives_up_where_nobody_is_answered_and_its_item_is_not_sent(
    batcher: Batcher[Any, Any], statement: Statement
) -> None:
    statement.hold()
    under_way = start(batcher, "under way")
    await statement.began.wait()

    with pytest.raises(DatabaseUnavailableError, match="no answer in time"):
        await batcher.submit("too late", seconds=0.01)
    statement.go_on.set()

    assert await outcomes([*under_way, *start(batcher, "next")]) == ["<under way>", "<next>"]
    assert statement.batches == [["under way"], ["next"]]


@pytest.mark.parametrize(
    ("answered_at", "give_up"),
    [(None, 104.5), (50.0, 104.5), (103.0, 107.5), (120.0, 124.5), (128.0, 130.0)],
    ids=["nothing yet", "long ago", "meanwhile", "again and again", "for too long"],
)
def test_caller_waits_for_its_seconds_since_others_were_answered_but_not_for_ever(
    answered_at: float | None, give_up: float
) -> None:
    assert give_up_at(100.0, answered_at, seconds=4.5) == give_up
