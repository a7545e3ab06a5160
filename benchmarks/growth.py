"""`--growth`: what becomes of this service as something grows, section by section, each in rounds of its sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from benchmarks import fill
from benchmarks import growth_measures as measures
from benchmarks.figures import Entry, Run
from benchmarks.measures import Values
from benchmarks.plan import Course
from benchmarks.stage import Contestant, Stage

Measure: TypeAlias = Callable[[Stage], Awaitable[Values]]

NO_AGE, OVERDUE = timedelta(), timedelta(minutes=10)
PAYLOADS_BYTES_MAX = 400_000_000
"""Of all the tasks that one drain has: of large ones there are fewer."""


@dataclass(frozen=True)
class GrowthSizes:
    """How much is put and drained."""

    rounds: int = 3
    tasks: int = 20_000
    """In one drain."""
    rows: tuple[int, ...] = (0, 100_000, 1_000_000)
    """Ended tasks in the table; as many as the most of them wait in a long backlog."""
    snapshot_seconds: float = 600.0
    churn: int = 20
    """How often one table is filled and drained."""
    processes: tuple[tuple[int, int], ...] = ((1, 200), (2, 100), (4, 50), (2, 200), (4, 200))
    """Processes, and the slots of each."""
    payloads: tuple[int, ...] = (100, 10_000, 200_000)


class Growth:
    """One run: the sections, and where their figures go."""

    def __init__(self, run: Run, course: Course, service: Contestant, sizes: GrowthSizes) -> None:
        self._run = run
        self._course = course
        self._service = service
        self._sizes = sizes

    async def measure(self, sections: Sequence[str]) -> None:
        """Measure these sections, one after the other."""
        known = {
            "ended": self._ended,
            "waiting": self._waiting,
            "snapshot": self._snapshot,
            "churn": self._churn,
            "processes": self._processes,
            "payload": self._payload,
        }
        for name in sections:
            await known[name]()

    async def _ended(self) -> None:
        drained, purged = self._sizes.tasks, max(1, self._sizes.tasks // 2)
        contestants = {self._contestant("ended", f"{rows:,}"): rows for rows in self._sizes.rows}
        for number, contestant in self._turns(contestants):
            await self._course.measure(
                contestant,
                number,
                "growth",
                partial(measures.with_ended, rows=contestants[contestant]),
                partial(measures.drain, count=drained),
                measures.lists,
                measures.claim,
                partial(measures.purge, count=purged),
            )

    async def _waiting(self) -> None:
        count, most = self._sizes.tasks, max(self._sizes.rows)
        contestants = {
            self._contestant("waiting", title): partial(measures.drain_first, count=count, waiting=waiting, age=age)
            for title, waiting, age in (
                (f"{count:,}", count, NO_AGE),
                (f"{count:,} overdue", count, OVERDUE),
                (f"{most:,} overdue", most, OVERDUE),
            )
        }
        for number, contestant in self._turns(contestants):
            await self._course.measure(contestant, number, "growth", contestants[contestant])

    async def _snapshot(self) -> None:
        without, held = self._contestant("snapshot", "without"), self._contestant("snapshot", "held")
        count, rounds = self._sizes.tasks, self._sizes.rounds
        with self._course.missing("snapshot"):
            async with self._course.stage(without) as stage:
                await self._drains(stage, without, range(1, rounds + 1))
                async with stage.space.old_snapshot():
                    await measures.load(stage, self._sizes.snapshot_seconds, count)
                    await self._drains(stage, held, range(1, rounds + 1))
                await fill.settle(stage.space)
                await self._drains(stage, without, range(rounds + 1, 2 * rounds + 1))

    async def _churn(self) -> None:
        first, last = self._contestant("churn", "the first rounds"), self._contestant("churn", "the last rounds")
        count, rounds = self._sizes.tasks, self._sizes.rounds
        ahead = self._sizes.churn - rounds
        with self._course.missing("churn"):
            async with self._course.stage(first) as stage:
                for number in range(1, self._sizes.churn + 1):
                    values = await measures.drain(stage, count) | await measures.sizes(stage)
                    await measures.purge(stage, count)
                    if number <= rounds:
                        self._course.note(first, number, values)
                    if number > ahead:
                        self._course.note(last, number - ahead, values)

    async def _processes(self) -> None:
        shares = {
            self._contestant("processes", f"{processes} × {slots}"): (processes, slots)
            for processes, slots in self._sizes.processes
        }
        most = max(processes for processes, _ in self._sizes.processes)
        # More than usual, since one process may have run a part of them before the last one begins.
        drains = {
            contestant: partial(
                measures.drain, count=most * self._sizes.tasks // 2, processes=processes, slots=processes * slots
            )
            for contestant, (processes, slots) in shares.items()
        }
        await self._in_turn("processes", drains)

    async def _payload(self) -> None:
        count = self._sizes.tasks
        drains = {
            self._contestant("payload", f"{size:,} B"): partial(
                measures.drain, count=min(count, PAYLOADS_BYTES_MAX // size), filler_bytes=size
            )
            for size in self._sizes.payloads
        }
        await self._in_turn("payload", drains)

    async def _in_turn(self, section: str, drains: Mapping[Contestant, Measure]) -> None:
        """Measure these in rounds, each round on one stage: what they leave there is small."""
        for number in range(1, self._sizes.rounds + 1):
            with self._course.missing(f"{section}, round {number}"):
                async with self._course.stage(self._service) as stage:
                    for contestant in _in_order(drains, number):
                        self._course.note(contestant, number, await drains[contestant](stage))

    async def _drains(self, stage: Stage, contestant: Contestant, numbers: Iterable[int]) -> None:
        for number in numbers:
            found = await measures.drain(stage, self._sizes.tasks)
            self._course.note(contestant, number, found | await measures.sizes(stage))

    def _turns(self, contestants: Mapping[Contestant, Any]) -> Iterator[tuple[int, Contestant]]:
        for number in range(1, self._sizes.rounds + 1):
            for contestant in _in_order(contestants, number):
                yield number, contestant

    def _contestant(self, section: str, title: str) -> Contestant:
        """Return the service as it takes part under a name of its own, and have the page know it."""
        name = f"{section} {title}"
        self._run.entries.append(Entry(name, title, "", (), 0, section))
        return replace(self._service, name=name)


def _in_order(contestants: Iterable[Contestant], number: int) -> list[Contestant]:
    """Return who takes turns in a round: each second one goes in the other order."""
    return list(contestants)[:: 1 if number % 2 else -1]
