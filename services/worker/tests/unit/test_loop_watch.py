from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from task_runtime.task_guard import guard_tasks
from task_store import Claim
from task_worker.attempt.runners.loop import run_on_loop
from task_worker.lease.in_flight import Attempt
from task_worker.loop_watch import LoopWatch

BLOCKED = 1.6


def compute() -> None:
    time.sleep(BLOCKED)


async def build() -> None:
    compute()


async def build_apart() -> None:
    await asyncio.create_task(build())


@pytest.fixture
async def watch() -> AsyncIterator[LoopWatch]:
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    guard_tasks(loop)
    watch = LoopWatch()
    watch.start()
    yield watch
    watch.stop()
    loop.set_task_factory(factory)


@pytest.mark.usefixtures("watch")
@pytest.mark.parametrize("handler", [build, build_apart], ids=["itself", "a task that it began"])
async def test_an_attempt_that_blocks_the_loop_is_named_once_and_again_when_the_loop_is_free(
    handler: Callable[[], object], a_claim: Callable[..., Claim]
) -> None:
    claim = a_claim(type="reports.build")
    attempt = Attempt(claim, timeout_seconds=60, max_attempts=3)
    with capture_logs() as logs:
        await run_on_loop(handler, attempt)
        await asyncio.sleep(0.7)

    blocked, free = logs
    assert (blocked["event"], free["event"]) == ("event_loop_blocked", "event_loop_free")
    for line in logs:
        assert (line["type"], line["task_id"], line["attempt"]) == ("reports.build", str(claim.id), claim.attempt)
    assert "in compute" in blocked["stack"].splitlines()[-2]
    assert BLOCKED - 0.3 < free["seconds"] < BLOCKED + 5


@pytest.mark.usefixtures("watch")
async def test_of_the_handlers_own_frames_alone_the_stack_is_made(a_claim: Callable[..., Claim]) -> None:
    attempt = Attempt(a_claim(), timeout_seconds=60, max_attempts=3)
    with capture_logs() as logs:
        await run_on_loop(build, attempt)
        await asyncio.sleep(0.7)

    places = [line for line in logs[0]["stack"].splitlines() if line.startswith("  File")]
    assert [place.rpartition(" in ")[2] for place in places] == ["build", "compute"]


@pytest.mark.usefixtures("watch")
async def test_the_worker_itself_has_no_type() -> None:
    with capture_logs() as logs:
        await asyncio.create_task(build())
        await asyncio.sleep(0.7)

    assert (logs[0]["event"], logs[0]["type"]) == ("event_loop_blocked", None)
    assert "in compute" in logs[0]["stack"]


@pytest.mark.usefixtures("watch")
async def test_a_loop_that_runs_is_not_named() -> None:
    with capture_logs() as logs:
        for _ in range(30):
            time.sleep(0.05)  # noqa: ASYNC251 # short, again and again
            await asyncio.sleep(0)

    assert logs == []
