from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from task_store import Claim
from task_worker.attempt.runners.loop import run_on_loop
from task_worker.lease.in_flight import Attempt


async def test_a_handler_on_the_loop_goes_with_the_loop(a_claim: Callable[..., Claim]) -> None:
    began, ended = asyncio.Event(), []

    async def run() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    running = asyncio.create_task(run_on_loop(run, Attempt(a_claim(), 60, 3)))
    await began.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [1]


def test_the_process_of_a_handler_starts_without_the_store_and_the_bus() -> None:
    child = "task_worker.attempt.runners.child_main"
    code = f"import sys, {child}; print([n for n in ('sqlalchemy', 'aio_pika') if n in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"
