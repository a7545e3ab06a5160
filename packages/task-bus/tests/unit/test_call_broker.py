from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from task_bus._rabbit.call_broker import ConnectionGivenUpError, call_broker


async def test_what_the_call_returns_comes_through():
    assert await call_broker(1, asyncio.sleep(0, "answer")) == "answer"


async def test_what_the_call_raises_comes_through():
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await call_broker(1, fail())


async def test_no_answer_in_time_is_a_timeout_and_stops_the_call():
    stopped = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with pytest.raises(TimeoutError):
        await call_broker(0.01, hang())

    await asyncio.wait_for(stopped.wait(), 1)


async def test_a_call_that_does_not_stop_is_left_behind():
    release = asyncio.Event()

    async def cling() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("not raised anywhere, and asyncio does not report it")

    with pytest.raises(TimeoutError):
        await call_broker(0.01, cling())

    release.set()


def test_a_call_that_waits_while_it_stops_does_not_keep_the_event_loop_from_ending():
    async def wait_again() -> None:
        for _ in range(3):  # the loop and the caller cancel it once each
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def leave() -> None:
        call = asyncio.create_task(call_broker(60, wait_again()))
        await asyncio.sleep(0.01)  # it has begun
        assert not call.done()

    ends = threading.Thread(target=asyncio.run, args=(leave(),), daemon=True)
    ends.start()
    ends.join(10)

    assert not ends.is_alive()


async def test_a_bare_exception_is_a_connection_given_up():
    async def give_up() -> None:
        raise Exception  # noqa: TRY002 # what aiormq raises where it knows no reason

    with pytest.raises(ConnectionGivenUpError):
        await call_broker(1, give_up())


async def test_a_cancellation_that_nobody_asked_for_is_a_connection_given_up():
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectionGivenUpError):
        await call_broker(1, give_up())
    assert asyncio.current_task().cancelling() == 0


async def test_the_callers_own_cancellation_propagates_and_stops_the_call():
    stopped, begun = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    caller = asyncio.create_task(call_broker(60, hang()))
    await begun.wait()
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(stopped.wait(), 1)
