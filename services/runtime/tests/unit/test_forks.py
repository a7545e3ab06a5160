"""A child that code forks ends where it comes back. One that goes on further ends with a code of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest
import uvloop

from task_runtime import forks_end_here
from task_runtime.forks import guard_forks

GONE_ON = 99
PID = os.getpid()
SECONDS = 10

Run: TypeAlias = Callable[[Coroutine[Any, Any, int | None]], int | None]

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _no_child_beyond_its_test() -> Iterator[None]:
    yield
    end_if_child()


def end_if_child() -> None:
    if os.getpid() != PID:
        os._exit(GONE_ON)


def fork() -> int | None:
    """Return None in the child, and its exit code in the parent."""
    child = os.fork()
    if not child:
        return None
    too_late = threading.Timer(SECONDS, os.kill, (child, signal.SIGKILL))
    too_late.start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    too_late.cancel()
    return code


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (ValueError("in the child"), 1), (SystemExit(3), 3), (SystemExit(), 0), (SystemExit("words"), 1)],
)
def test_a_child_that_leaves_the_block_ends_as_the_interpreter_would(error: BaseException | None, code: int) -> None:
    with forks_end_here():
        ended = fork()
        if ended is None and error is not None:
            raise error

    assert ended == code


def test_a_child_ends_whatever_code_has_put_in_place_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def flush(self) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Stream())
        with forks_end_here():
            ended = fork()

    assert ended == 0


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run something on a guarded event loop."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        guard_forks(runner.get_loop())
        yield runner.run
        end_if_child()


async def forks_and_awaits() -> int | None:
    code = fork()
    await goes_on()
    return code


async def goes_on() -> None:
    await asyncio.sleep(0)
    end_if_child()


def test_nothing_that_is_ready_runs_in_a_child_that_goes_back_to_the_event_loop(run: Run) -> None:
    async def main() -> int | None:
        others = [asyncio.create_task(goes_on()) for _ in range(2)]
        forking = asyncio.create_task(forks_and_awaits())
        others += [asyncio.create_task(goes_on()) for _ in range(2)]
        asyncio.get_running_loop().call_soon(end_if_child)
        await asyncio.gather(*others)
        return await forking

    assert run(main()) == 0


def test_a_child_ends_where_it_comes_back_to_a_thread_of_the_event_loop(run: Run) -> None:
    assert run(asyncio.to_thread(fork)) == 0
