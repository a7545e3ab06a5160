"""One contestant in an empty space: its commands, its workers, and how many of its tasks have ended."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peer import Peer
from benchmarks.servers import Servers, Space, free_port
from benchmarks.usage import family, has_ended

ENQUEUE_SECONDS = 300.0
STALLED_SECONDS = 60.0
"""Where no further task ends for so long, a measure is given up."""
READY_SECONDS = 60.0
STOP_SECONDS = 40.0
SAMPLE_SECONDS = 0.05
FIRST_SECONDS = 0.01
TOO_FEW = "all tasks had ended before they could be counted: measure more of them"
COUNTING_SHARE = 20
"""Between two counts of what has ended lies this many times the time that one takes: counting costs at most 5 %."""
SLOTS = 200
"""How many tasks a contestant runs at once, all its worker processes together."""


class StageError(Exception):
    """A contestant did not do what it was asked for. The text is a few lines for people."""


@dataclass(frozen=True)
class Contestant:
    """A peer, as it takes part in this run."""

    name: str
    peer: Peer
    command: tuple[str, ...]
    """What runs its file; commands are appended."""


@dataclass(frozen=True)
class Sample:
    """How many tasks had ended at a time of `time.time()`."""

    seconds: float
    ended: int


class Stage:
    """See the module. `open_stage` makes one."""

    def __init__(self, contestant: Contestant, space: Space, folder: Path) -> None:
        self.contestant = contestant
        self.space = space
        self.journal = folder / "journal"
        self.enqueued = 0
        self._folder = folder
        self._http_port = free_port()

    async def enqueue(self, how: str, count: int, *words: str) -> Any:
        """Enqueue so many tasks, `one` by one, `many` or `paced`, and return what the peer says of it."""
        first, self.enqueued = self.enqueued, self.enqueued + count
        return await self.run(how, f"{first}:{count}", *words)

    async def run(self, *words: str) -> Any:
        """Run a command of the peer's file to its end, and return the JSON that it prints, if any.

        Raises:
            StageError: it failed.

        """
        log = self._folder / f"{words[0]}.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *self.contestant.command,
                *words,
                env=self._environment(),
                cwd=self._folder,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
            try:
                output, _ = await asyncio.wait_for(process.communicate(), ENQUEUE_SECONDS)
            except BaseException:
                await _end(process)
                raise
        if process.returncode:
            raise StageError(f"{self.contestant.name} {words[0]}: exit code {process.returncode}\n{_tail(log)}")
        lines = output.decode().strip().splitlines()
        return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None

    @asynccontextmanager
    async def workers(
        self, processes: int = 1, *, slots: int = SLOTS, is_journaled: bool = False
    ) -> AsyncIterator[list[psutil.Process]]:
        """Run a worker in this block, of so many processes, which share the slots."""
        variables = {"BENCH_PROCESSES": str(processes), "BENCH_SLOTS": str(slots // processes)}
        if is_journaled:
            variables["BENCH_JOURNAL"] = str(self.journal)
        async with self._process("work", variables) as worker:
            yield [worker]

    @asynccontextmanager
    async def served(self) -> AsyncIterator[list[psutil.Process]]:
        """Run the peer's server in this block, if it has one, and wait until it is ready."""
        if not self.contestant.peer.is_served:
            yield []
            return
        async with self._process("serve", {}) as process:
            await self._until_ready(process)
            yield [process]

    async def ended(self) -> int:
        """Return how many tasks have ended so far, their end stored."""
        return await self.space.count(self.contestant.peer.outcomes)

    async def until_all_work(self, workers: Sequence[psutil.Process], processes: int = 1) -> None:
        """Return once a task of every process has ended.

        Raises:
            StageError: a worker has ended, all tasks have before it began, or nothing happens for a minute.

        """
        query = self.contestant.peer.workers if processes > 1 else None
        asked = time.monotonic()
        deadline = asked + STALLED_SECONDS
        while await (self.space.count(query) if query else self.ended()) < processes:
            took = time.monotonic() - asked
            if any(map(has_ended, workers)) or time.monotonic() > deadline:
                raise StageError(f"{self.contestant.name}: not every worker works\n{self._said()}")
            if await self.ended() >= self.enqueued:
                raise StageError(TOO_FEW)
            await asyncio.sleep(max(FIRST_SECONDS, COUNTING_SHARE * took))
            asked = time.monotonic()

    async def watch(self, first: int | None = None) -> list[Sample]:
        """Return samples of how many tasks have ended, from now until all have that were enqueued by then.

        Until the `first` so many have, where they are given.

        Raises:
            StageError: for a minute none has ended, or there are more outcomes than tasks.

        """
        enqueued = self.enqueued
        count = enqueued if first is None else first
        samples = [Sample(time.time(), await self.ended())]
        changed = time.monotonic()
        while samples[-1].ended < count:
            asked = time.monotonic()
            ended = await self.ended()
            samples.append(Sample(time.time(), ended))
            took = time.monotonic() - asked
            if ended > samples[-2].ended:
                changed = time.monotonic()
            if time.monotonic() - changed > STALLED_SECONDS:
                raise StageError(f"{self.contestant.name}: {ended} of {count} tasks ended\n{self._said()}")
            await asyncio.sleep(pause_seconds(samples, count, took))
        if samples[-1].ended > enqueued:
            raise StageError(f"{self.contestant.name}: {samples[-1].ended} outcomes of {enqueued} tasks")
        return samples

    @property
    def http_url(self) -> str:
        """Where the peer's server listens."""
        return f"http://127.0.0.1:{self._http_port}"

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TASK_", "BENCH_", "PYTHON"))}
        return {**kept, **self.space.environment, "BENCH_HTTP_URL": self.http_url}

    @asynccontextmanager
    async def _process(self, word: str, variables: Mapping[str, str]) -> AsyncIterator[psutil.Process]:
        with (self._folder / f"{word}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.contestant.command,
                word,
                env={**self._environment(), **variables},
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield psutil.Process(process.pid)
        finally:
            await _end(process)

    async def _until_ready(self, process: psutil.Process) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await asyncio.to_thread(_answers, f"{self.http_url}/health/ready"):
            if time.monotonic() > deadline or has_ended(process):
                raise StageError(f"{self.contestant.name}: its server is not ready\n{self._said()}")
            await asyncio.sleep(SAMPLE_SECONDS)

    def _said(self) -> str:
        return "\n".join(_tail(path) for path in sorted(self._folder.glob("*.log")))


@asynccontextmanager
async def open_stage(contestant: Contestant, servers: Servers, folder: Path) -> AsyncIterator[Stage]:
    """Give a contestant an empty space, in which its tables and queues have been made, and an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 # nothing else runs
    async with servers.space() as space:
        stage = Stage(contestant, space, folder)
        await stage.run("setup")
        yield stage


def pause_seconds(samples: Sequence[Sample], count: int, took: float) -> float:
    """Return how long to wait before the next count, after one that took so many seconds.

    Counting stays a small share of the time; towards the end half of what seems to be left, so that the end is seen.
    """
    first, last = samples[0], samples[-1]
    elapsed, ended = last.seconds - first.seconds, last.ended - first.ended
    left = (count - last.ended) * elapsed / ended if ended > 0 else math.inf
    return max(SAMPLE_SECONDS, min(COUNTING_SHARE * took, left / 2))


def _answers(url: str) -> bool:
    with suppress(OSError):
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to stop; kill it, and what it has started, if it does not."""
    if process.returncode is not None:
        return
    members = family([psutil.Process(process.pid)])
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        print(f"{process.pid} did not stop and was killed", file=sys.stderr)
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    await process.wait()


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
