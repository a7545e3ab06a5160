"""The page that a run with peers writes: `docs/performance.md`, from stored figures alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.figures import MEASURES, Entry, Measure, Run


@dataclass(frozen=True)
class Plot:
    """A drawing: bars of these contestants, one chart for each measure."""

    name: str
    measures: Sequence[Measure]
    entries: Sequence[Entry]

    def link(self, run: Run) -> str:
        """Return the line by which the page shows it."""
        return f"![{self.name}]({run.page}/{self.name}.svg)\n"


HTTP = ("post", "post_keyed", "batch")
PLOTS = {
    "throughput": ("enqueue_one", "enqueue_many", "drain", "end_to_end"),
    "latency": (
        "called_50_p50",
        "called_50_p99",
        "started_50_p50",
        "started_50_p99",
        "called_500_p50",
        "called_500_p99",
    ),
    "cost": ("worker_cpu", "servers_cpu", "wal", "commits"),
    "idle": ("memory_idle", "memory_busy", "idle_statements", "idle_cpu"),
}
"""The plots and what each shows."""

_HEAD = """\
# Performance

Answers: how fast is it, and beside what?

`{command}` wrote this page, its plots and [its figures](performance/figures.json): do not edit
it. The code is in `benchmarks/`.

{machine}

This service and its peers shared one PostgreSQL, one RabbitMQ and one Redis, with synced disks, on the machine that
also ran the workers. They took turns: each measure began with an empty database, and each second round went in the
other order. A task does nothing and returns its number. A figure is the median of all rounds, with the lowest and the
highest behind it.

| | with | as its documentation says | tasks drained |
|---|---|---|---|
"""

_NOTES = """
- **Drain**: all tasks wait, then the worker starts. The clock runs from the first stored outcome that is seen, of each
  process where there are several, to the last one: the start is not in it, nor in processor time and write-ahead log.
- **End to end**: tasks are enqueued in bulk beside one idle worker, from the first enqueue to the last stored outcome.
- **Call → started**: from the call that enqueues to the first line of the task's code. **Accepted → started**: from the
  answer to that call; 0 where the task had begun before. **Accepted → finished**: to the time that is stored as its end
  (– where none is). Who cannot keep the pace shows how long tasks then wait.
- **Memory**: of the worker and the processes that it starts; what they share is counted once.
- **Processor time of the servers**: of PostgreSQL, RabbitMQ and Redis together. This service enqueues over HTTP, its
  peers write to their broker or database themselves.
"""


_HTTP_NOTES = """
Load came from wrk with 32 connections, for batches from one, with logs and metrics as they are by default. A batch has
1,000 rows; the bare one is an `INSERT … SELECT FROM unnest` without HTTP.
"""


def plots(run: Run) -> list[Plot]:
    """Return what is drawn beside the page."""
    return [Plot(name, measures, run.entries) for name, keys in PLOTS.items() if (measures := run.measured(*keys))]


def page(run: Run) -> str:
    """Return the page, in Markdown."""
    parts = [_HEAD.format(command=run.machine.get("command", ""), machine=machine(run)) + _contestants(run)]
    queues = [measure for measure in run.measured() if measure.key not in HTTP]
    systems = _with_figures(run, queues)
    if queues:
        drawn = "\n".join(plot.link(run) for plot in plots(run))
        parts.append(f"## Figures\n\n{table(run, queues, systems)}{_NOTES}\n{drawn}")
    if side_by_side := comparison(run):
        parts.append(side_by_side)
    if http := run.measured(*HTTP):
        compared = _with_figures(run, http)
        parts.append(f"## Over HTTP\n\n{table(run, http, compared)}{_against_bare(run, compared)}{_HTTP_NOTES}")
    if run.left_out:
        parts.append(left_out(run))
    return "\n".join(parts)


def times_better(run: Run, measure: Measure, ours: str, theirs: str) -> float | None:
    """Return how many times better a contestant is than another: above 1 it is better, whichever way it counts."""
    one, other = run.spread(ours, measure.key), run.spread(theirs, measure.key)
    if one is None or other is None:
        return None
    better, worse = (one.median, other.median) if measure.more_is_better else (other.median, one.median)
    return better / worse if worse else None


def left_out(run: Run) -> str:
    """Return the section on what is not there."""
    return "## Left out\n\n" + "".join(f"- {name}: {reason}\n" for name, reason in run.left_out.items())


def machine(run: Run) -> str:
    """Return a list of what it ran on."""
    return "\n".join(f"- {name}: {value}" for name, value in run.machine.items() if name != "command")


def _contestants(run: Run) -> str:
    return "".join(
        row([one.title, one.how, _links(one), f"{one.drained:,}" if one.drained else "–"]) for one in run.entries
    )


def _links(entry: Entry) -> str:
    return ", ".join(f"[{number}]({page})" for number, page in enumerate(entry.pages, 1)) or "–"


def _with_figures(run: Run, measures: Sequence[Measure]) -> list[Entry]:
    return [one for one in run.entries if any(run.spread(one.name, measure.key) for measure in measures)]


def table(run: Run, measures: Sequence[Measure], entries: Sequence[Entry], *, is_contest: bool = True) -> str:
    """Return a table with a row for each measure and a column for each contestant, the best in bold in a contest."""
    head = row(["", *(one.title for one in entries)]) + "|---|" + "---:|" * len(entries) + "\n"
    return head + "".join(
        row([f"{measure.title} ({measure.unit})", *_cells(run, measure, entries, is_contest=is_contest)])
        for measure in measures
    )


def _cells(run: Run, measure: Measure, entries: Sequence[Entry], *, is_contest: bool) -> Iterable[str]:
    """Yield the cells of a row, the best of several in bold where that is asked for."""
    spreads = [run.spread(one.name, measure.key) for one in entries]
    medians = [spread.median for spread in spreads if spread]
    best = (max if measure.more_is_better else min)(medians) if is_contest and len(medians) > 1 else None
    for spread in spreads:
        if spread is None:
            yield "–"
            continue
        median = f"**{_number(spread.median)}**" if spread.median == best else _number(spread.median)
        is_spread = spread.lowest < spread.highest
        yield f"{median} ({_number(spread.lowest)}–{_number(spread.highest)})" if is_spread else median


def comparison(run: Run) -> str:
    """Return how many times better the first contestant is than each of the others; empty where there are none."""
    measures = [measure for measure in run.measured() if measure.key not in HTTP]
    entries = _with_figures(run, measures)
    if len(entries) <= 1:
        return ""
    first, *others = entries
    head = row([f"{first.title}, times better than", *(one.title for one in others)]) + "|---|" + "---:|" * len(others)
    rows = [
        row([measure.title, *map(ratio, ratios)])
        for measure in measures
        if any(ratios := [times_better(run, measure, first.name, one.name) for one in others])
    ]
    return f"## Side by side\n\nBelow 1, in bold, the other one does better.\n\n{head}\n{''.join(rows)}"


def ratio(times: float | None, least: float = 1.0) -> str:
    """Return how many times better something is, as a cell; in bold where it should be more."""
    if times is None:
        return "–"
    return f"**{times:.2f}**" if times < least else f"{times:.2f}"


def _against_bare(run: Run, entries: Sequence[Entry]) -> str:
    """Return the shares of what the bare insert does that the service reaches, as a list."""
    if len(entries) < len(("service", "bare")):
        return ""
    service, bare = entries
    lines = []
    for key, of in {"post": "post", "post_keyed": "post", "batch": "batch"}.items():
        ours, theirs = run.spread(service.name, key), run.spread(bare.name, of)
        if ours and theirs:
            lines.append(
                f"- {MEASURES[key].title}: {ours.median / theirs.median:.2f} of the bare {MEASURES[of].title}\n"
            )
    return "\n" + "".join(lines)


def row(cells: Iterable[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |\n"


def _number(value: float) -> str:
    """Return a number with three digits that count, and no more after the point than it needs."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
