# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib==3.11.2"]
# ///
"""Draws the plots of the page beside stored figures: `uv run --script plots.py figures.json`.

A script with an environment of its own: the workspace needs no library for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib  # type: ignore[import-not-found] # in this script's environment alone

from benchmarks.figures import Entry, Measure, Run
from benchmarks.pages import plots
from benchmarks.report import Plot

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "task-service"  # the same figures make the same file
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot  # noqa: E402 # after the choice of what it draws

OURS, THEIRS = "#1f6f8b", "#b8c4c9"
_WIDTH, _BAR_HEIGHT, _HEAD_HEIGHT = 5.0, 0.32, 0.9


def main(figures: Path) -> None:
    """Draw each plot that there are figures for."""
    run = Run.load(figures)
    for plot in plots(run):
        draw(run, plot, figures.parent / f"{plot.name}.svg")


def draw(run: Run, plot: Plot, path: Path) -> None:
    """Draw bars of each contestant, with the lowest and the highest of all rounds; one chart for each measure."""
    measures, entries = plot.measures, plot.entries
    rows = (len(measures) + 1) // 2
    height = rows * (_HEAD_HEIGHT + _BAR_HEIGHT * len(entries))
    figure, charts = pyplot.subplots(rows, 2, figsize=(2 * _WIDTH, height), squeeze=False, layout="constrained")
    for place, chart in enumerate(charts.flat):
        if place < len(measures):
            _bars(chart, run, measures[place], entries)
        else:
            chart.set_axis_off()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(chart: Any, run: Run, measure: Measure, entries: Sequence[Entry]) -> None:
    shown = [(entry, spread) for entry in entries if (spread := run.spread(entry.name, measure.key))]
    medians = [spread.median for _, spread in shown]
    errors = [[s.median - s.lowest for _, s in shown], [s.highest - s.median for _, s in shown]]
    colours = [OURS if _is_ours(entry) else THEIRS for entry, _ in shown]
    bars = chart.barh([entry.title for entry, _ in shown], medians, xerr=errors, color=colours, ecolor="#555")
    chart.bar_label(bars, labels=[f"{median:,.4g}" for median in medians], padding=4, fontsize=8)
    chart.invert_yaxis()
    chart.margins(x=0.2)
    better = "more" if measure.more_is_better else "less"
    chart.set_title(f"{measure.title}, {measure.unit} ({better} is better)", fontsize=9, loc="left")
    chart.tick_params(labelsize=8)
    chart.spines[["top", "right"]].set_visible(False)


def _is_ours(entry: Entry) -> bool:
    return bool(entry.section) or entry.name.startswith("service")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
