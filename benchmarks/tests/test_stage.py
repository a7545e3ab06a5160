"""What ends a measure: every task once, a worker that ended, more outcomes than tasks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from benchmarks import stage as stages
from benchmarks.peer import peers
from benchmarks.servers import Space
from benchmarks.stage import Contestant, Sample, Stage, StageError, pause_seconds


class Counted:
    """A space in which so many tasks have ended at each look, and in the end always as many as at the last."""

    def __init__(self, *ended: int) -> None:
        self._ended = list(ended)
        self.asked: list[str] = []

    async def count(self, query: str) -> int:
        self.asked.append(query)
        return self._ended.pop(0) if len(self._ended) > 1 else self._ended[0]


MakeStage = Callable[..., Stage]


@pytest.fixture
def stage_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStage:
    monkeypatch.setattr(stages, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(stages, "STALLED_SECONDS", 0.05)

    def make(*ended: int, enqueued: int) -> Stage:
        contestant = Contestant("service", peers()["service"], ())
        stage = Stage(contestant, cast("Space", cast("Any", Counted(*ended))), tmp_path)
        stage.enqueued = enqueued
        return stage

    return make


async def test_samples_run_until_every_task_has_ended(stage_of: MakeStage) -> None:
    samples = await stage_of(0, 3, 3, 8, 10, enqueued=10).watch()

    assert [sample.ended for sample in samples] == [0, 3, 3, 8, 10]
    assert samples == sorted(samples, key=lambda sample: sample.seconds)


async def test_samples_of_the_first_tasks_end_with_them_although_more_wait(stage_of: MakeStage) -> None:
    samples = await stage_of(0, 3, 8, 12, enqueued=20).watch(6)

    assert [sample.ended for sample in samples] == [0, 3, 8]


def test_counting_is_a_small_share_of_the_time_until_the_end_is_near() -> None:
    samples = [Sample(100.0, 0), Sample(101.0, 1_000)]

    assert pause_seconds(samples[:1], 10_000, took=0.1) == pytest.approx(2.0)
    assert pause_seconds(samples, 10_000, took=0.1) == pytest.approx(2.0)
    assert pause_seconds(samples, 1_200, took=0.1) == pytest.approx(0.1)  # half of 200 at 1,000 a second
    assert pause_seconds(samples, 1_000, took=0.1) == stages.SAMPLE_SECONDS


async def test_more_outcomes_than_tasks_are_no_figure(stage_of: MakeStage) -> None:
    with pytest.raises(StageError, match="11 outcomes of 10 tasks"):
        await stage_of(0, 9, 11, enqueued=10).watch()


async def test_a_worker_that_stands_still_ends_the_measure(stage_of: MakeStage) -> None:
    with pytest.raises(StageError, match="9 of 10 tasks ended"):
        await stage_of(0, 9, enqueued=10).watch()


@pytest.fixture
def ended_worker() -> psutil.Process:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        worker = psutil.Process(process.pid)
        process.communicate(b"\n")
    return worker


async def test_all_processes_of_a_worker_are_waited_for(stage_of: MakeStage) -> None:
    stage = stage_of(0, 5, 1, 6, 2, 7, enqueued=10)  # how many processes, and how many tasks

    await stage.until_all_work([psutil.Process()], processes=2)

    peer = stage.contestant.peer
    assert cast("Any", stage.space).asked == [peer.workers, peer.outcomes, peer.workers, peer.outcomes, peer.workers]


async def test_a_worker_that_has_ended_is_not_waited_for(
    stage_of: MakeStage, ended_worker: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "STALLED_SECONDS", 60.0)

    with pytest.raises(StageError, match="not every worker works"):
        await asyncio.wait_for(stage_of(0, enqueued=10).until_all_work([ended_worker]), 10)
