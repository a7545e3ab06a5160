"""Whole runs, as small as they can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.figures import Run

ROOT = Path(__file__).parents[2]


@pytest.mark.private_servers
def test_a_run_without_peers_measures_the_service_and_writes_the_page(tmp_path: Path) -> None:
    words = ["--peers", "none", "--tasks", "200", "--rounds", "1"]

    run = _run(*words, folder=tmp_path, page="performance")

    measured = {figure.measure for figure in run.figures}
    assert {
        "enqueue_one",
        "enqueue_many",
        "end_to_end",
        "started_50_p50",
        "finished_500_p99",
        "memory_idle",
    } <= measured
    assert "## Figures" in (tmp_path / "performance.md").read_text()
    assert (tmp_path / "performance" / "latency.svg").read_text().startswith("<?xml")


@pytest.mark.private_servers
def test_growth_is_measured_and_written_to_its_own_page(tmp_path: Path) -> None:
    sections = ["--sections", "ended,snapshot"]  # the others drain as these do
    words = ["--tasks", "900", "--rounds", "1", "--rows", "300", "--snapshot-seconds", "1"]

    run = _run("--growth", *sections, *words, folder=tmp_path, page="performance-growth")

    assert run.left_out == {}
    measured = {(figure.contestant.split()[0], figure.measure) for figure in run.figures}
    assert {("ended", key) for key in ("drained", "claim", "list", "list_none", "stats", "purge")} <= measured
    assert {("snapshot", "drained"), ("snapshot", "dead_rows")} <= measured
    assert "## An old snapshot" in (tmp_path / "performance-growth.md").read_text()
    assert (tmp_path / "performance-growth" / "snapshot.svg").read_text().startswith("<?xml")


def _run(*words: str, folder: Path, page: str) -> Run:
    command = [sys.executable, "-m", "benchmarks", *words, "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return Run.load(folder / page / "figures.json")
