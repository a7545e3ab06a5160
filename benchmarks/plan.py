"""Who takes part, with how many tasks, and what is measured: rounds in which all take their turns."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import http, measures
from benchmarks.figures import Entry, Run
from benchmarks.measures import Values
from benchmarks.peer import Peer
from benchmarks.servers import Servers
from benchmarks.stage import Contestant, Stage, StageError, open_stage


@dataclass(frozen=True)
class Sizes:
    """How much a run does."""

    rounds: int = 3
    tasks_max: int | None = None
    """The most tasks that anybody drains; None for as many as each peer's file says, and 100,000 for the quick ones."""
    one_by_one: int = 1_000
    idle_seconds: float = 10.0
    processes: tuple[int, ...] = (2, 4)
    """By how many processes the service drains, beside one."""
    http_seconds: int = 5
    http_rows: int = 50_000
    paced: tuple[tuple[int, float], ...] = ((50, 8.0), (500, 5.0))
    """Tasks a second, and for how many seconds."""

    def tasks(self, peer: Peer) -> int:
        """Return how many tasks a peer drains."""
        return min(peer.drained, self.tasks_max or peer.drained)

    def one_by_one_of(self, peer: Peer) -> int:
        """Return how many of them are enqueued one by one."""
        return min(self.one_by_one, self.tasks(peer) // 2)


QUICK = Sizes(rounds=3, tasks_max=10_000, one_by_one=300, paced=((50, 4.0),))
"""Two states of this service in two minutes."""


class Course:
    """One run: contestants, the servers that they share, and what has been found."""

    def __init__(self, run: Run, servers: Servers, sizes: Sizes, folder: Path) -> None:
        self._run = run
        self._servers = servers
        self._sizes = sizes
        self._folder = folder
        self._stages = 0
        self._began = 0.0

    async def rounds(self, contestants: Sequence[Contestant], *, is_quick: bool = False) -> None:
        """Measure all, round by round, each second round in the other order."""
        for number in range(1, self._sizes.rounds + 1):
            for contestant in contestants if number % 2 else reversed(contestants):
                await self._turn(contestant, number, is_quick=is_quick)

    async def http_rounds(self, service: Contestant, bare: Contestant) -> None:
        """Measure the service over HTTP beside the least that could stand in its place."""
        seconds = self._sizes.http_seconds
        post = partial(http.post, seconds=seconds)
        ours = [post, partial(http.post_keyed, seconds=seconds), partial(http.batch, seconds=seconds)]
        theirs = [post, partial(http.insert, rows=self._sizes.http_rows)]
        # All rows that there are: nobody works on them.
        turns = [(replace(service, peer=replace(service.peer, outcomes=bare.peer.outcomes)), ours), (bare, theirs)]
        for number in range(1, self._sizes.rounds + 1):
            for contestant, taken in turns if number % 2 else reversed(turns):
                await self.measure(contestant, number, "HTTP", *taken)

    async def _turn(self, contestant: Contestant, number: int, *, is_quick: bool) -> None:
        peer, sizes = contestant.peer, self._sizes
        count, one_by_one = sizes.tasks(peer), sizes.one_by_one_of(peer)
        measure = partial(self.measure, contestant, number)
        paced = [
            partial(measures.latency, rate=rate, count=min(count, int(rate * seconds))) for rate, seconds in sizes.paced
        ]
        await measure(
            "drain", partial(measures.enqueue, one_by_one=one_by_one, in_bulk=count - one_by_one), measures.drain
        )
        if is_quick:
            await measure("latency", *paced)
            return
        resting = partial(measures.idle_then_end_to_end, seconds=sizes.idle_seconds, count=count)
        await measure("beside a worker", resting, *paced)
        if peer.is_served:  # the service itself
            for processes in sizes.processes:
                key = f"drain_by_{processes}"
                # Twice as many, since one worker may have run half of them before the last one begins.
                await measure(key, partial(measures.drain_alone, key=key, count=2 * count, processes=processes))
        if peer.drained_many and sizes.tasks_max is None:
            await measure("drain_many", partial(measures.drain_alone, key="drain_many", count=peer.drained_many))

    async def measure(
        self, contestant: Contestant, number: int, what: str, *taken: Callable[[Stage], Awaitable[Values]]
    ) -> None:
        """Take these measures one after the other, on one stage, until one fails."""
        with self.missing(f"{contestant.name}, {what}"):
            async with self.stage(contestant) as stage:
                for measure in taken:
                    self.note(contestant, number, await measure(stage))

    def note(self, contestant: Contestant, number: int, values: Values) -> None:
        """Add what a contestant gave in a round, and print it."""
        self._run.add(contestant.name, number, values)
        shown = "  ".join(f"{key} {value:,.4g}" for key, value in values.items())
        taking = time.monotonic() - self._began
        print(f"round {number}  {contestant.name:<15} {taking:4.0f} s  {shown}", flush=True)

    @contextmanager
    def missing(self, what: str) -> Iterator[None]:
        """Measure something in this block. Where that fails, the page says that it is missing, and the run goes on."""
        try:
            yield
        except (StageError, TimeoutError, OSError) as error:
            self._run.left_out[what] = (str(error) or type(error).__name__).splitlines()[0]
            print(f"{what}: {error}", file=sys.stderr)

    @asynccontextmanager
    async def stage(self, contestant: Contestant) -> AsyncIterator[Stage]:
        """Give a contestant a stage of its own in this block."""
        self._stages += 1
        self._began = time.monotonic()
        folder = self._folder / f"{self._stages}-{contestant.name.replace(' ', '-')}"
        async with open_stage(contestant, self._servers, folder) as stage:
            yield stage


def entry(contestant: Contestant, sizes: Sizes) -> Entry:
    """Return what the page says of a contestant."""
    peer = contestant.peer
    return Entry(contestant.name, peer.title, peer.how, peer.pages, sizes.tasks(peer))


def renamed(peer: Peer, title: str) -> Peer:
    """Return a peer under another title."""
    return replace(peer, title=title)
