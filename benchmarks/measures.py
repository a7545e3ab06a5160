"""The measures: each takes a contestant on its stage and returns figures by the keys of `MEASURES`."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import suppress

import psutil

from benchmarks.stage import SLOTS, TOO_FEW, Stage, StageError
from benchmarks.usage import cpu_seconds, memory_mb

KB = 1_000
MEMORY_SECONDS = 0.5
"""How often memory is read while a worker is busy: each reading takes some milliseconds of its time."""
WARM_TASKS = 20
"""Tasks that have run before anything is measured beside a worker: then it is connected and has its code."""

Values = dict[str, float]


async def enqueue(stage: Stage, one_by_one: int, in_bulk: int) -> Values:
    """Enqueue tasks one after the other, and in bulk, by one process, with no worker there."""
    async with stage.served():
        one = await stage.enqueue("one", one_by_one)
        many = await stage.enqueue("many", in_bulk)
    return {"enqueue_one": one_by_one / one["seconds"], "enqueue_many": in_bulk / many["seconds"]}


async def drain(stage: Stage, processes: int = 1, *, slots: int = SLOTS, count: int | None = None) -> Values:
    """Have a worker run all that was enqueued, or the first `count`.

    The clock begins when each of its processes works: no start is counted.
    """
    before = await stage.space.used()
    async with stage.workers(processes, slots=slots) as workers:
        await stage.until_all_work(workers, processes)
        begun, cpu = await stage.space.used(), cpu_seconds(workers)
        busy = asyncio.create_task(_highest_memory(workers))
        try:
            samples = await stage.watch(count)
        finally:
            busy.cancel()
        ended, cpu = await stage.space.used(), cpu_seconds(workers) - cpu
        memory = max([memory_mb(workers), *(await _result(busy))])
    left = await stage.space.used()
    first, last = samples[0], samples[-1]
    if first.ended == last.ended:
        raise StageError(TOO_FEW)
    thousands = (last.ended - first.ended) / 1_000
    return {
        "drain": 1_000 * thousands / (last.seconds - first.seconds),
        "memory_busy": memory,
        "worker_cpu": cpu / thousands,
        "servers_cpu": (ended.cpu_seconds - begun.cpu_seconds) / thousands,
        "commits": max(0, left.commits - before.commits) / (last.ended / 1_000),
        "wal": (ended.wal_bytes - begun.wal_bytes) / KB / thousands,
    }


async def drain_alone(stage: Stage, key: str, count: int, processes: int = 1) -> Values:
    """Enqueue so many tasks and drain them; of all that `drain` finds, return the rate, under this key."""
    async with stage.served():
        await stage.enqueue("many", count)
    return {key: (await drain(stage, processes))["drain"]}


async def idle_then_end_to_end(stage: Stage, seconds: float, count: int) -> Values:
    """See what a worker, and the peer's server, use while there is nothing to do; then give it tasks in bulk.

    From the first enqueue to the last outcome.
    """
    async with stage.served() as server, stage.workers() as workers:
        await _warm(stage)
        await asyncio.sleep(seconds / 2)  # counts and wake-ups follow the last task
        async with stage.space.counting_statements():
            statements, used = await stage.space.statements(), await stage.space.used()
            cpu = cpu_seconds([*workers, *server])
            await asyncio.sleep(seconds)  # what is measured is this time
            cpu = cpu_seconds([*workers, *server]) - cpu + (await stage.space.used()).cpu_seconds - used.cpu_seconds
            statements = await stage.space.statements() - statements
        memory = memory_mb(workers)
        enqueued = await asyncio.gather(stage.enqueue("many", count), stage.watch())
    return {
        "memory_idle": memory,
        "idle_statements": statements / seconds,
        "idle_cpu": 100 * cpu / seconds,
        "end_to_end": count / (enqueued[1][-1].seconds - enqueued[0]["began"]),
    }


async def latency(stage: Stage, rate: int, count: int) -> Values:
    """Enqueue so many tasks at a steady rate: from each answer to the first line of the code, and to the outcome."""
    finished: dict[str, float] = {}
    async with stage.served(), stage.workers(is_journaled=True):
        await _warm(stage)
        paced, _ = await asyncio.gather(stage.enqueue("paced", count, str(rate)), stage.watch())
        if query := stage.contestant.peer.finished:
            finished = await stage.space.times(query)
    started = dict(line.split() for line in stage.journal.read_text().splitlines())
    called, accepted = paced["called"], paced["accepted"]
    return {
        **_percentiles(f"called_{rate}", [float(started[number]) - at for number, at in called.items()]),
        **_percentiles(f"started_{rate}", [float(started[number]) - at for number, at in accepted.items()]),
        **_percentiles(
            f"finished_{rate}", [finished[key] - accepted[one] for one, key in paced["ids"].items() if key in finished]
        ),
    }


async def _warm(stage: Stage) -> None:
    """Run a few tasks."""
    await stage.enqueue("many", WARM_TASKS)
    await stage.watch()


async def _highest_memory(workers: Sequence[psutil.Process]) -> list[float]:
    seen: list[float] = []
    with suppress(asyncio.CancelledError):
        while True:
            seen.append(await asyncio.to_thread(memory_mb, workers))
            await asyncio.sleep(MEMORY_SECONDS)
    return seen


async def _result(readings: asyncio.Task[list[float]]) -> list[float]:
    try:
        return await readings
    except asyncio.CancelledError:  # before its first line
        return []


def _percentiles(key: str, seconds: Sequence[float]) -> Values:
    """Return p50 and p99 in milliseconds; nothing for nothing. What had started before it was accepted counts as 0."""
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles((max(0.0, one) for one in seconds), n=100)
    return {f"{key}_p50": 1_000 * cuts[49], f"{key}_p99": 1_000 * cuts[98]}
