"""What `--growth` measures, in which order, and the page that it writes from stored figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from benchmarks import growth
from benchmarks.figures import MEASURES, Entry, Run
from benchmarks.growth import Growth, GrowthSizes
from benchmarks.growth_report import PAGE, SECTIONS, page, plots
from benchmarks.peer import peers
from benchmarks.plan import Course
from benchmarks.stage import Contestant


class Noted:
    """A course without servers: it notes who took turns in which round, and what was done on their stages."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.turns: list[tuple[int, str]] = []
        self.space = self
        self.is_snapshot_old = False

    @contextmanager
    def missing(self, _what: str) -> Iterator[None]:
        yield

    @asynccontextmanager
    async def stage(self, _contestant: Contestant) -> AsyncIterator[Noted]:
        yield self

    @asynccontextmanager
    async def old_snapshot(self) -> AsyncIterator[None]:
        self.is_snapshot_old = True
        yield
        self.is_snapshot_old = False

    async def measure(
        self, contestant: Contestant, number: int, _what: str, *taken: Callable[[Any], Awaitable[dict[str, float]]]
    ) -> None:
        for measure in taken:
            self._run.add(contestant.name, number, await measure(self))
        self.turns.append((number, contestant.name))

    def note(self, contestant: Contestant, number: int, values: dict[str, float]) -> None:
        self._run.add(contestant.name, number, values)
        self.turns.append((number, contestant.name))


@pytest.fixture
def run() -> Run:
    return Run({"command": "uv run nox -s benchmark -- --growth"}, [], page=PAGE)


@pytest.fixture
def course(run: Run, monkeypatch: pytest.MonkeyPatch) -> Noted:
    drains = 0

    async def drain(stage: Noted, count: int, *, processes: int = 1, slots: int = 200, **_filling: Any) -> Any:
        nonlocal drains
        drains += 1
        return {"drained": drains, "worker_cpu": float(stage.is_snapshot_old)}

    async def nothing(*_: Any, **__: Any) -> dict[str, float]:
        return {}

    monkeypatch.setattr(growth.measures, "drain", drain)
    monkeypatch.setattr(growth.measures, "drain_first", drain)
    monkeypatch.setattr(growth.fill, "settle", nothing)
    for name in ("with_ended", "lists", "claim", "purge", "sizes", "load"):
        monkeypatch.setattr(growth.measures, name, nothing)
    return Noted(run)


@pytest.fixture
def measure(run: Run, course: Noted) -> Callable[..., Awaitable[None]]:
    service = peers()["service"]

    async def of(*sections: str, **sizes: Any) -> None:
        contestant = Contestant("service", service, ())
        await Growth(run, cast("Course", course), contestant, GrowthSizes(**sizes)).measure(sections)

    return of


async def test_each_second_round_goes_in_the_other_order(course: Noted, measure: Any) -> None:
    await measure("ended", "processes", rounds=2, rows=(0, 5), processes=((1, 200), (4, 50)))

    assert course.turns == [
        *[(1, "ended 0"), (1, "ended 5"), (2, "ended 5"), (2, "ended 0")],
        *[(1, "processes 1 × 200"), (1, "processes 4 × 50"), (2, "processes 4 × 50"), (2, "processes 1 × 200")],
    ]


async def test_a_drain_beside_an_old_snapshot_has_some_without_before_and_after_it(
    run: Run, course: Noted, measure: Any
) -> None:
    await measure("snapshot", rounds=1)

    assert [name for _, name in course.turns] == ["snapshot without", "snapshot held", "snapshot without"]
    assert [figure.value for figure in run.figures if figure.measure == "worker_cpu"] == [0, 1, 0]


async def test_the_first_and_the_last_rounds_of_churn_are_kept(run: Run, measure: Any) -> None:
    await measure("churn", rounds=2, churn=7)

    values = {
        name: [one.value for one in run.figures if one.contestant == name and one.measure == "drained"]
        for name in ("churn the first rounds", "churn the last rounds")
    }
    assert values == {"churn the first rounds": [1, 2], "churn the last rounds": [6, 7]}


async def test_every_section_is_measured_and_shown(run: Run, measure: Any) -> None:
    await measure(*SECTIONS, rounds=1)

    text = page(run)

    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {section.title}" for section in SECTIONS.values()
    ]
    assert [plot.name for plot in plots(run)] == [*SECTIONS]
    assert {figure.measure for figure in run.figures} <= MEASURES.keys()


def test_what_misses_its_figure_is_in_bold_beside_the_base(run: Run) -> None:
    for rows, drained, claim in [(0, 3_000, 2.0), (100, 2_000, 4.0), (1_000, 1_900, 8.8)]:
        run.entries.append(Entry(f"ended {rows}", f"{rows:,}", "", (), 0, "ended"))
        run.add(f"ended {rows}", 1, {"drained": drained, "claim": claim})

    run.entries.append(Entry("ended 10000", "10,000", "", (), 0, "ended"))
    run.add("ended 10000", 1, {"drained": 1_000})

    rows = page(run).splitlines()

    assert "| Drain (tasks/s) | 3,000 | 2,000 | 1,900 | 1,000 |" in rows
    assert "| as good as 100 | at least | 0 | 1,000 | 10,000 |" in rows
    assert "| Drain | 0.90 | 1.50 | 0.95 | **0.50** |" in rows
    assert "| Claim of 50 tasks | 0.50 | 2.00 | **0.45** | – |" in rows
    assert not [row for row in rows if row.startswith("| Purge")], "what was not measured"


def test_what_is_missing_is_named(run: Run) -> None:
    run.left_out["churn"] = "9 of 10 tasks ended"

    assert "- churn: 9 of 10 tasks ended" in page(run).splitlines()


def test_stored_figures_know_their_page(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "figures.json")

    assert Run.load(tmp_path / "figures.json") == run


def test_figures_that_were_stored_before_there_were_several_pages_are_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text('{"machine": {}, "entries": [], "left_out": {}, "figures": []}')

    assert Run.load(path).page == "performance"
