from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from task_runtime.task_guard import NotYourTaskError, guard_tasks, owned_by, owner_of, start_task

SECONDS = 10


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on a guarded loop, with a deadline."""

    def on_guarded_loop(work: Coroutine[Any, Any, Any]) -> Any:
        async def within_deadline() -> Any:
            async with asyncio.timeout(SECONDS):
                return await work

        with asyncio.Runner(loop_factory=request.param) as runner:
            guard_tasks(runner.get_loop())
            return runner.run(within_deadline())

    return on_guarded_loop


async def cancel_all() -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


def test_code_of_an_owner_cannot_cancel_what_is_not_its_own(run: Any) -> None:
    async def main() -> tuple[bool, bool, type[BaseException]]:
        ours = asyncio.create_task(asyncio.sleep(SECONDS))
        with owned_by("neighbour"):
            neighbours = asyncio.create_task(asyncio.sleep(SECONDS))
        with owned_by("one"):
            (error,) = await asyncio.gather(asyncio.create_task(cancel_all()), return_exceptions=True)
        await asyncio.sleep(0)
        return ours.done(), neighbours.done(), type(error)

    assert run(main()) == (False, False, NotYourTaskError)


def test_it_cancels_its_own_and_so_does_the_process(run: Any) -> None:
    async def code() -> list[bool]:
        own = asyncio.create_task(asyncio.sleep(SECONDS))
        own.cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(SECONDS)
        await asyncio.wait([own])
        return [own.cancelled()]

    async def main() -> list[bool]:
        with owned_by("one"):
            found = asyncio.create_task(code())
            endless = asyncio.create_task(asyncio.sleep(SECONDS))
        cancelled = await found
        endless.cancel()
        await asyncio.wait([endless])
        return [*cancelled, endless.cancelled()]

    assert run(main()) == [True, True]


def test_from_a_thread_it_is_refused_and_logged(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> bool:
        loop, ours, asked = asyncio.get_running_loop(), asyncio.create_task(asyncio.sleep(SECONDS)), asyncio.Event()

        def code() -> None:
            with owned_by("one"):
                loop.call_soon_threadsafe(ours.cancel)
                loop.call_soon_threadsafe(asked.set)

        threading.Thread(target=code).start()
        await asked.wait()
        await asyncio.sleep(0)
        return ours.done()

    assert run(main()) is False
    assert [record.message for record in caplog.records] == ["cancel_refused"]


def test_a_cancel_of_code_that_waits_for_others_does_not_reach_them(run: Any) -> None:
    async def main() -> bool:
        ours = asyncio.create_task(asyncio.sleep(0.05, "ours"))
        with owned_by("one"):
            waiting = asyncio.create_task(asyncio.wait_for(ours, SECONDS))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(waiting.cancel)
        await asyncio.wait([waiting])
        return await ours == "ours"

    assert run(main())


def test_a_started_task_has_its_owner_in_its_first_step(run: Any) -> None:
    async def code() -> object:
        return owner_of(asyncio.current_task())

    async def main() -> object:
        with owned_by("one"):
            return await start_task(code())

    assert run(main()) == "one"


def test_a_started_task_that_waits_for_nothing_has_ended_where_python_can(run: Any) -> None:
    async def code() -> int:
        return 1

    async def main() -> tuple[bool, int]:
        task = start_task(code())
        return task.done(), await task

    assert run(main()) == (sys.version_info >= (3, 12), 1)


def test_a_started_task_waits_is_cancelled_and_fails_as_any(run: Any) -> None:
    async def fails() -> None:
        raise ValueError

    async def main() -> list[Any]:
        waiting, failed = start_task(asyncio.sleep(SECONDS)), start_task(fails())
        await asyncio.sleep(0)
        waiting.cancel()
        return await asyncio.gather(waiting, failed, return_exceptions=True)

    assert [type(one) for one in run(main())] == [asyncio.CancelledError, ValueError]
