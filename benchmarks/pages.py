"""Writes the page of a run, whichever it is, with its figures and its plots."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import growth_report, report
from benchmarks.figures import Run
from benchmarks.peer import outside_environment
from benchmarks.report import Plot

_ROOT = Path(__file__).resolve().parent.parent
_DRAWING_SECONDS = 300
_PAGES: dict[str, tuple[Callable[[Run], str], Callable[[Run], Sequence[Plot]]]] = {
    "performance": (report.page, report.plots),
    growth_report.PAGE: (growth_report.page, growth_report.plots),
}


def plots(run: Run) -> Sequence[Plot]:
    """Return what is drawn of a run."""
    return _PAGES[run.page][1](run)


def write_page(run: Run, folder: Path) -> Path:
    """Write the figures, the plots and the page into a folder, and return the page's path."""
    figures = folder / run.page / "figures.json"
    run.save(figures)
    subprocess.run(
        ["uv", "run", "-q", "--script", str(_ROOT / "benchmarks" / "plots.py"), str(figures)],
        env={**outside_environment(), "PYTHONPATH": str(_ROOT)},
        timeout=_DRAWING_SECONDS,
        check=True,
    )
    path = folder / f"{run.page}.md"
    path.write_text(_PAGES[run.page][0](run), encoding="utf-8")
    return path
