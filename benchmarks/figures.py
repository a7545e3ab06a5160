"""The figures of a run, as they are stored and as the page is written from them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Measure:
    """One thing that is measured."""

    key: str
    title: str
    unit: str
    more_is_better: bool


WAYS = {"called": "Call → started", "started": "Accepted → started", "finished": "Accepted → finished"}
"""From where to where latency is measured. Accepted: the call that enqueues has been answered."""
MEASURES = {
    measure.key: measure
    for measure in [
        Measure("enqueue_one", "Enqueue, one by one", "tasks/s", True),
        Measure("enqueue_many", "Enqueue, in bulk", "tasks/s", True),
        Measure("drain", "Drain, one worker process", "tasks/s", True),
        Measure("drain_many", "Drain of 100,000, one worker process", "tasks/s", True),
        Measure("drain_by_2", "Drain, two worker processes", "tasks/s", True),
        Measure("drain_by_4", "Drain, four worker processes", "tasks/s", True),
        Measure("drained", "Drain", "tasks/s", True),
        Measure("end_to_end", "End to end, enqueued in bulk beside one worker", "tasks/s", True),
        *(
            Measure(f"{key}_{rate}_{share}", f"{way} at {rate}/s, {share}", "ms", False)
            for rate in (50, 500)
            for key, way in WAYS.items()
            for share in ("p50", "p99")
        ),
        Measure("memory_idle", "Memory of the worker, idle", "MB", False),
        Measure("memory_busy", "Memory of the worker, busy", "MB", False),
        Measure("worker_cpu", "Processor time of the worker", "s per 1,000 tasks", False),
        Measure("servers_cpu", "Processor time of the servers", "s per 1,000 tasks", False),
        Measure("commits", "Commits", "per 1,000 tasks", False),
        Measure("wal", "Write-ahead log", "kB per 1,000 tasks", False),
        Measure("idle_statements", "Statements while idle", "per second", False),
        Measure("idle_cpu", "Processor while idle, servers included", "% of a core", False),
        Measure("post", "POST", "requests/s", True),
        Measure("post_keyed", "POST with a key", "requests/s", True),
        Measure("batch", "Batch", "rows/s", True),
        Measure("claim", "Claim of 50 tasks", "ms", False),
        Measure("list", "List, a page of those of any status", "ms", False),
        Measure("list_failed", "List, a page of the failed", "ms", False),
        Measure("list_none", "List, of a status that none has", "ms", False),
        Measure("stats", "Stats", "ms", False),
        Measure("purge", "Purge", "rows/s", True),
        Measure("dead_rows", "Dead rows of tasks", "thousands", False),
        Measure("queue_indexes", "Indexes of waiting and running tasks", "MB", False),
        Measure("other_indexes", "Other indexes of tasks", "MB", False),
        Measure("table", "Table of tasks", "MB", False),
    ]
}


@dataclass(frozen=True)
class Figure:
    """What one measure gave one contestant in one round."""

    contestant: str
    measure: str
    round: int
    value: float


@dataclass(frozen=True)
class Entry:
    """A contestant, as the page presents it."""

    name: str
    title: str
    how: str
    pages: tuple[str, ...]
    drained: int
    section: str = ""
    """The part of the page that it is in, where that has several."""


@dataclass(frozen=True)
class Spread:
    """The figures of all rounds in short."""

    median: float
    lowest: float
    highest: float


@dataclass
class Run:
    """Everything that a run has found. `figures.json` holds one."""

    machine: dict[str, str]
    """What it ran on, in words: processor, cores, versions of servers, commit, date, command."""
    entries: list[Entry]
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a contestant, or one of its measures, is not there; by the name of either."""
    figures: list[Figure] = field(default_factory=list)
    page: str = "performance"
    """The name of its page, and of the folder beside it with figures and plots."""

    def add(self, contestant: str, number: int, values: Mapping[str, float]) -> None:
        """Add what a contestant gave in a round."""
        self.figures += [Figure(contestant, measure, number, value) for measure, value in values.items()]

    def spread(self, contestant: str, measure: str) -> Spread | None:
        """Return the median, least and most of all rounds; None where it was not measured."""
        values = [one.value for one in self.figures if (one.contestant, one.measure) == (contestant, measure)]
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def measured(self, *keys: str) -> list[Measure]:
        """Return those of these measures, or of all, that somebody has figures for, in the order of the page."""
        there = {one.measure for one in self.figures}
        return [measure for key, measure in MEASURES.items() if key in there and (not keys or key in keys)]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read what `save` has written."""
        stored = json.loads(path.read_text())
        return cls(
            stored["machine"],
            [Entry(**{**entry, "pages": tuple(entry["pages"])}) for entry in stored["entries"]],
            stored["left_out"],
            [Figure(**figure) for figure in stored["figures"]],
            stored.get("page", cls.page),
        )
