from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from task_worker.loop_watch import HANDLER, LoopWatch

BLOCKED = 1.6


def compute() -> None:
    time.sleep(BLOCKED)


async def build() -> None:
    compute()


@pytest.fixture
async def watch() -> AsyncIterator[LoopWatch]:
    watch = LoopWatch()
    watch.start()
    yield watch
    watch.stop()


@pytest.mark.parametrize(("name", "type_"), [(f"{HANDLER}reports.build", "reports.build"), ("a loop", None)])
async def test_code_that_blocks_the_loop_is_named_once(watch: LoopWatch, name: str, type_: str | None) -> None:
    with capture_logs() as logs:
        await asyncio.create_task(build(), name=name)
        await asyncio.sleep(0.7)

    (line,) = logs
    assert (line["event"], line["type"]) == ("event_loop_blocked", type_)
    assert "in compute" in line["stack"]


async def test_a_loop_that_runs_is_not_named(watch: LoopWatch) -> None:
    with capture_logs() as logs:
        for _ in range(30):
            time.sleep(0.05)  # noqa: ASYNC251 # short, again and again
            await asyncio.sleep(0)

    assert logs == []
