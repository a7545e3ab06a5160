"""What the leader's scans do where an old snapshot makes them slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from task_store import DatabaseUnavailableError, Ended, LostWorker, ScanPace, Workers
from task_worker.leader.election import Leadership
from task_worker.leader.reject import Reject
from task_worker.leader.sweep import Sweep
from task_worker.lease.lease import Lease

TICK_SECONDS = 5.0


class FakeWorkers:
    """Statements that take time of a clock of their own, on two pools."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        """How long a scan takes."""
        self.expired: list[LostWorker] = []
        self.failure: Exception | None = None
        self.declared_at: list[float] = []
        self.scans: list[tuple[float, str]] = []
        """When each began, and on which pool."""

    def pool(self, name: str) -> Workers:
        return cast(Workers, FakePool(self, name))

    def scan(self, pool: str) -> None:
        self.scans.append((self.now, pool))
        self.now += self.seconds
        if self.failure is not None:
            raise self.failure


class FakePool:
    def __init__(self, workers: FakeWorkers, name: str) -> None:
        self._workers = workers
        self._name = name

    async def declare_dead(self, *_: object) -> list[LostWorker]:
        self._workers.declared_at.append(self._workers.now)
        expired, self._workers.expired = self._workers.expired, []
        return expired

    async def dead_holders(self) -> list[UUID]:
        self._workers.scan(self._name)
        return []

    async def sweep(self, worker_ids: Sequence[UUID], *, rows: int) -> list[Ended]:
        raise AssertionError(worker_ids, rows)

    async def reject(self, *_: object, rows: int) -> list[Any]:
        del rows
        self._workers.scan(self._name)
        return []


@pytest.fixture
def workers() -> FakeWorkers:
    return FakeWorkers()


@pytest.fixture
def lease() -> Lease:
    lease = Lease(6 * TICK_SECONDS)
    lease.begin(uuid4(), 0.0)
    return lease


@pytest.fixture
def sweep(workers: FakeWorkers, lease: Lease) -> Sweep:
    sweep = Sweep(workers.pool("pool"), workers.pool("slow"), lease, Leadership())
    sweep._pace = ScanPace(clock=lambda: workers.now)
    return sweep


async def ticks(sweep: Sweep, workers: FakeWorkers, count: int) -> None:
    for _ in range(count):
        await sweep.sweep()
        workers.now += TICK_SECONDS


async def test_sweep_looks_for_lost_tasks_each_time_while_that_is_cheap(sweep: Sweep, workers: FakeWorkers) -> None:
    await ticks(sweep, workers, 3)

    assert workers.scans == [(0.0, "pool"), (5.0, "pool"), (10.0, "pool")]


async def test_slow_look_takes_a_twentieth_of_the_time_and_deaths_are_declared_meanwhile(
    sweep: Sweep, workers: FakeWorkers
) -> None:
    workers.seconds = 1.0

    await ticks(sweep, workers, 6)

    assert workers.scans == [(0.0, "pool"), (21.0, "slow")]
    assert workers.declared_at == [0.0, 6.0, 11.0, 16.0, 21.0, 27.0]


async def test_look_that_takes_very_long_comes_once_a_minute(sweep: Sweep, workers: FakeWorkers) -> None:
    workers.seconds = 30.0

    await ticks(sweep, workers, 14)

    assert workers.scans == [(0.0, "pool"), (90.0, "slow")]


async def test_death_is_followed_by_a_look_at_once_however_slow(sweep: Sweep, workers: FakeWorkers) -> None:
    workers.seconds = 1.0
    await ticks(sweep, workers, 1)
    workers.expired = [LostWorker(uuid4(), "a-host", 1)]

    await ticks(sweep, workers, 2)

    assert workers.scans == [(0.0, "pool"), (6.0, "slow")]


async def test_look_after_a_death_is_repeated_at_the_next_tick_until_it_is_answered(
    sweep: Sweep, workers: FakeWorkers
) -> None:
    workers.seconds = 1.0
    await ticks(sweep, workers, 1)
    workers.expired = [LostWorker(uuid4(), "a-host", 1)]
    workers.failure = DatabaseUnavailableError("too long")
    with pytest.raises(DatabaseUnavailableError):
        await sweep.sweep()
    workers.failure = None

    await ticks(sweep, workers, 2)

    assert workers.scans == [(0.0, "pool"), (6.0, "slow"), (7.0, "slow")]


async def test_slow_reject_takes_a_twentieth_of_the_time(workers: FakeWorkers, lease: Lease) -> None:
    reject = Reject(workers.pool("slow"), lease, Leadership())
    reject._pace = ScanPace(clock=lambda: workers.now)
    workers.seconds = 2.0

    for _ in range(3):
        await reject.reject()
        workers.now += lease.seconds

    assert workers.scans == [(0.0, "slow"), (62.0, "slow")]
