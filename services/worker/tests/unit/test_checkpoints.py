"""The checkpoints of one attempt: in order, from any thread, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

import pytest

from task_store import Claim
from task_worker.attempt.checkpoints import Checkpoints
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.lease.in_flight import Attempt, StopReason

Until = Callable[..., Awaitable[Any]]
STORED, STOPPED = CheckpointOutcome.STORED, CheckpointOutcome.STOPPED

whose: ContextVar[str] = ContextVar("whose", default="the worker's")


class Bench:
    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.written: list[str | None] = []
        self.contexts: list[str] = []
        self.may_write = asyncio.Event()
        self.error: Exception | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.checkpoints = Checkpoints(attempt, self._write, self._spawn)

    def store(self, text: str | None) -> asyncio.Future[CheckpointOutcome]:
        return asyncio.wrap_future(self.checkpoints.store(text))

    async def _write(self, attempt: Attempt, text: str | None) -> CheckpointOutcome:
        assert attempt is self.attempt
        self.written.append(text)
        self.contexts.append(whose.get())
        await self.may_write.wait()
        if self.error is not None:
            raise self.error
        return STORED

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))


@pytest.fixture
async def bench(a_claim: Callable[..., Claim]) -> AsyncIterator[Bench]:
    bench = Bench(Attempt(a_claim(), 60, 3))
    yield bench
    for task in bench.tasks:
        task.cancel()


async def test_while_one_is_written_the_last_of_those_that_wait_stands_for_all(bench: Bench, until: Until) -> None:
    first = bench.store("1")
    await until(lambda: bench.written)
    others = [bench.store(text) for text in ("2", None, "3")]
    await asyncio.sleep(0)

    bench.may_write.set()

    assert await asyncio.gather(first, *others) == [STORED] * 4
    assert bench.written == ["1", "3"]
    assert len(bench.tasks) == 1


async def test_a_call_from_a_thread_waits_until_it_is_stored(bench: Bench, until: Until) -> None:
    waiting = asyncio.create_task(asyncio.to_thread(lambda: bench.checkpoints.store("1").result()))
    await until(lambda: bench.written)
    assert not waiting.done()

    bench.may_write.set()

    assert await waiting is STORED


async def test_an_urgent_stop_ends_every_call_at_once_though_the_write_goes_on(bench: Bench, until: Until) -> None:
    under_way = bench.store("1")
    await until(lambda: bench.written)
    waiting = bench.store("2")
    await asyncio.sleep(0)

    bench.attempt.stop(StopReason.LEASE_LOST)
    later = bench.store("3")

    assert await asyncio.gather(under_way, waiting, later) == [STOPPED] * 3
    assert bench.written == ["1"]
    bench.may_write.set()
    await bench.tasks[0]  # its outcome is nobody's any more


async def test_another_stop_lets_the_write_under_way_end(bench: Bench, until: Until) -> None:
    under_way = bench.store("1")
    await until(lambda: bench.written)

    bench.attempt.stop(StopReason.DRAIN)
    bench.may_write.set()

    assert await under_way is STORED


async def test_a_caller_that_gives_up_takes_nothing_back(bench: Bench, until: Until) -> None:
    given_up = bench.store("1")
    await until(lambda: bench.written)

    given_up.cancel()
    bench.may_write.set()

    assert await bench.store("2") is STORED
    assert bench.written == ["1", "2"]


async def test_it_is_the_workers_work_though_the_users_code_called(bench: Bench) -> None:
    bench.may_write.set()
    whose.set("the user's")

    await bench.store("1")

    assert bench.contexts == ["the worker's"]


async def test_where_writing_breaks_no_caller_waits_for_ever(bench: Bench, until: Until) -> None:
    under_way = bench.store("1")
    await until(lambda: bench.written)
    waiting = bench.store("2")
    await asyncio.sleep(0)

    bench.error = RuntimeError("a mistake of ours")
    bench.may_write.set()

    assert await asyncio.gather(under_way, waiting) == [STOPPED] * 2
    with pytest.raises(RuntimeError):
        await bench.tasks[0]


def test_a_thread_that_was_left_behind_learns_it_once_the_worker_has_ended(a_claim: Callable[..., Claim]) -> None:
    async def make() -> Checkpoints:
        return Bench(Attempt(a_claim(), 60, 3)).checkpoints

    checkpoints = asyncio.run(make())

    stored: Future[CheckpointOutcome] = checkpoints.store("1")
    assert stored.result(timeout=0) is STOPPED
