from __future__ import annotations

import asyncio

import pytest

from task_api.deadlines import answer_within


async def test_work_that_is_in_time_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await answer_within(5, work()) == 7


async def test_its_error_is_the_callers() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await answer_within(5, work())


async def test_work_that_cannot_be_cancelled_at_once_is_not_waited_for() -> None:
    cancelled, released, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await released.wait()
            ended.set()
            raise RuntimeError("a driver's complaint, when nobody asks any more") from None

    with pytest.raises(TimeoutError):
        await answer_within(0.01, work())

    async with asyncio.timeout(5):
        await cancelled.wait()
        assert not ended.is_set()
        released.set()
        await ended.wait()


async def test_a_caller_that_goes_away_takes_its_work_along() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    caller = asyncio.create_task(answer_within(60, work()))
    async with asyncio.timeout(5):
        await begun.wait()
        caller.cancel()
        await cancelled.wait()

    with pytest.raises(asyncio.CancelledError):
        await caller
