from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from task_worker.recycling import RecycleLimits, Recycler, resident_memory
from task_worker.timings import RecycleTimings

SECONDS = 30
MIB = 1 << 20
AT_ONCE = RecycleTimings(check_seconds=0.001, memory_seconds=0)


def recycler(limits: RecycleLimits, *, attempts: Callable[[], int] = lambda: 0, memory_mb: int = 0) -> Recycler:
    return Recycler(limits, attempts, AT_ONCE, lambda: memory_mb * MIB)


@pytest.fixture
def no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit is raised."""
    monkeypatch.setattr(random, "uniform", lambda low, high: low)


async def test_a_worker_is_recycled_once_so_many_attempts_have_ended(no_luck: None) -> None:
    ended = 0

    def attempts() -> int:
        nonlocal ended
        ended += 1
        return ended

    with capture_logs() as logs:
        async with recycler(RecycleLimits(5, None), attempts=attempts).watch() as recycle:
            async with asyncio.timeout(SECONDS):
                await recycle.wait()

    assert ended == 5
    assert logs == [{"event": "recycling", "log_level": "info", "reason": "tasks", "attempts": 5, "limit": 5}]


@pytest.mark.parametrize(("memory_mb", "is_stopped"), [(99, False), (100, False), (101, True)])
async def test_a_worker_is_recycled_above_so_much_memory(no_luck: None, memory_mb: int, is_stopped: bool) -> None:
    looked = asyncio.Event()

    def resident() -> int:
        looked.set()
        return memory_mb * MIB

    with capture_logs() as logs:
        async with Recycler(RecycleLimits(None, 100), lambda: 0, AT_ONCE, resident).watch() as recycle:
            async with asyncio.timeout(SECONDS):
                await (recycle if is_stopped else looked).wait()

            assert recycle.is_set() is is_stopped
    assert logs == (
        [{"event": "recycling", "log_level": "info", "reason": "memory", "memory_mb": 101, "limit": 100}] * is_stopped
    )


async def test_a_worker_without_limits_is_never_recycled() -> None:
    looks = 0

    def attempts() -> int:
        nonlocal looks
        looks += 1
        return looks * 1000

    async with recycler(RecycleLimits(None, None), attempts=attempts, memory_mb=1 << 20).watch() as recycle:
        await asyncio.sleep(0.05)

        assert not recycle.is_set()


async def test_a_worker_is_recycled_once_the_watch_has_failed() -> None:
    def broken() -> int:
        raise LookupError("no such figure")

    async def work() -> None:
        async with recycler(RecycleLimits(1, None), attempts=broken).watch() as recycle:
            await recycle.wait()

    with pytest.raises(LookupError):
        await asyncio.wait_for(work(), SECONDS)


def test_workers_that_start_together_have_limits_up_to_a_tenth_apart() -> None:
    made = [recycler(RecycleLimits(1000, 100)) for _ in range(200)]

    limits: list[Any] = [one._attempts_max for one in made]
    assert 1000 <= min(limits) < 1020 < 1080 < max(limits) <= 1100
    assert all(100 * MIB <= (one._bytes_max or 0) <= 110 * MIB for one in made)


def test_resident_memory_is_that_of_this_process() -> None:
    assert resident_memory() == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)
