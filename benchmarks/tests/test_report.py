"""The page is written from stored figures alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.figures import MEASURES, Entry, Figure, Run
from benchmarks.measures import _percentiles
from benchmarks.peer import Peer, peers
from benchmarks.report import page, times_better


@pytest.fixture
def run() -> Run:
    entries = [
        Entry("service", "this service", "REST", ("sizing.md",), 20_000),
        Entry("celery", "Celery", "prefork", ("https://docs.celeryq.dev/",), 5_000),
    ]
    run = Run({"command": "uv run nox -s benchmark", "processor": "2 cores"}, entries)
    for number, (ours, theirs) in enumerate([(3_000, 300), (3_900, 290), (3_200, 310)], 1):
        run.add("service", number, {"drain": ours, "memory_idle": 68})
        run.add("celery", number, {"drain": theirs, "memory_idle": 34})
    return run


def test_a_figure_is_the_median_of_all_rounds_with_the_lowest_and_the_highest(run: Run) -> None:
    rows = page(run).splitlines()

    assert "| Drain, one worker process (tasks/s) | **3,200** (3,000–3,900) | 300 (290–310) |" in rows


def test_what_a_peer_does_better_is_in_bold(run: Run) -> None:
    assert times_better(run, MEASURES["drain"], "service", "celery") == pytest.approx(3_200 / 300)
    assert times_better(run, MEASURES["memory_idle"], "service", "celery") == pytest.approx(0.5)

    rows = page(run).splitlines()

    assert "| Drain, one worker process | 10.67 |" in rows
    assert "| Memory of the worker, idle | **0.50** |" in rows


def test_what_nobody_measured_has_no_row_and_who_was_not_measured_no_figure(run: Run) -> None:
    run.add("service", 1, {"drain_many": 3_000})

    rows = page(run).splitlines()

    assert "| Drain of 100,000, one worker process (tasks/s) | 3,000 | – |" in rows
    assert not [row for row in rows if "Commits" in row]


def test_who_is_left_out_is_named_with_the_reason(run: Run) -> None:
    run.left_out["BullMQ"] = "Node and npm are not installed"

    assert "- BullMQ: Node and npm are not installed" in page(run).splitlines()


def test_stored_figures_give_the_same_page(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "figures.json")

    assert page(Run.load(tmp_path / "figures.json")) == page(run)


def test_a_measure_that_the_page_does_not_know_is_never_stored(run: Run) -> None:
    assert {figure.measure for figure in run.figures} <= MEASURES.keys()
    assert Figure("service", "drain", 2, 3_900) in run.figures


def test_percentiles_are_milliseconds_and_none_where_nothing_was_measured() -> None:
    found = _percentiles("started_50", [number / 1_000 for number in range(1, 1_000)])

    assert found == pytest.approx({"started_50_p50": 500, "started_50_p99": 990})
    assert found.keys() <= MEASURES.keys()
    assert _percentiles("finished_50", []) == {}


@pytest.mark.parametrize("peer", peers().values(), ids=lambda peer: peer.name)
def test_every_peer_says_how_it_is_installed_and_where_that_is_documented(peer: Peer) -> None:
    assert peer.title
    assert peer.how
    assert peer.pages
    assert all(page.startswith("https://") for page in peer.pages) or peer.in_workspace
    assert all("==" in one or "@" in one for one in peer.dependencies), "a version that is not pinned"
    assert set(peer.needs) <= {"postgres", "rabbitmq", "redis"}
