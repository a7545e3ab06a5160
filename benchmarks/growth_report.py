"""The page that `--growth` writes: `docs/performance-growth.md`, from stored figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

from benchmarks.figures import MEASURES, Entry, Run
from benchmarks.report import Plot, left_out, machine, ratio, row, table, times_better

PAGE = "performance-growth"
LINE = 120
"""The longest line of a text."""


@dataclass(frozen=True)
class Section:
    """One thing that grows, in several sizes: a contestant each, the first or second of which the others are beside."""

    title: str
    note: str
    least: Mapping[str, float]
    """How many times as good as the base the others should be, by measure: below 1, since growth costs something."""
    base: int = 0
    """The place of the contestant that the others are compared with, as far as there are so many."""


SECTIONS = {
    "ended": Section(
        "Ended tasks in the table",
        "So many tasks had ended before: drain, lists, stats, claims of 50 and purge beside them.",
        {"drained": 0.9, "claim": 0.5, "list": 0.5, "list_failed": 0.5, "list_none": 0.5, "stats": 0.5, "purge": 0.5},
        base=1,
    ),
    "waiting": Section(
        "Waiting tasks",
        "So many tasks waited, and as many as in the first column were drained. Tasks that are overdue were due ten"
        " minutes before: of those the poll takes some, as it does of every backlog that lasts.",
        {"drained": 0.9},
    ),
    "snapshot": Section(
        "An old snapshot",
        "A transaction stood open while tasks were drained, so that no vacuum removed what died: then the same drain"
        " beside it, by a worker that has just started. Without: before the transaction, and after it and a vacuum.",
        {"drained": 0.8},
    ),
    "churn": Section(
        "Churn",
        "Tasks were put, drained and purged, again and again in one table. Sizes are those before the purge.",
        {"drained": 0.9},
    ),
    "processes": Section(
        "Processes",
        "One `task-worker --processes N`: processes × the slots of each.",
        {"drained": 0.9},
    ),
    "payload": Section("Payloads", "Tasks with payloads of so many bytes, which do not compress.", {}),
}


def plots(run: Run) -> list[Plot]:
    """Return what is drawn beside the page: of each section what the figures to reach are about."""
    return [
        Plot(name, run.measured("drained", *section.least), entries)
        for name, section in SECTIONS.items()
        if (entries := _entries(run, name))
    ]


def page(run: Run) -> str:
    """Return the page, in Markdown."""
    parts = [_HEAD.format(command=run.machine.get("command", ""), machine=machine(run))]
    parts += [_section(run, name) for name in SECTIONS if _entries(run, name)]
    if run.left_out:
        parts.append(left_out(run))
    return "\n".join(parts)


_HEAD = """\
# Performance as it grows

Answers: how fast is it with a large table, a long backlog, an old snapshot, more processes, larger payloads?

`{command}` wrote this page, its plots and [its figures](performance-growth/figures.json): do not edit
it. The code is in `benchmarks/`.

{machine}

A figure is the median of all rounds, with the lowest and the highest behind it; each second round went in the other
order. Rows were put by SQL, complete as the service writes them, then vacuumed and analyzed. The worker has 200 slots
where nothing else is said, and its tasks do nothing.
"""


def _section(run: Run, name: str) -> str:
    section, entries = SECTIONS[name], _entries(run, name)
    measures = [one for one in run.measured() if any(run.spread(entry.name, one.key) for entry in entries)]
    shown = table(run, measures, entries, is_contest=False)
    drawn = f"![{name}]({PAGE}/{name}.svg)\n"
    return f"## {section.title}\n\n{fill(section.note, LINE)}\n\n{shown}\n{_beside(run, section, entries)}{drawn}"


def _beside(run: Run, section: Section, entries: Sequence[Entry]) -> str:
    """Return how the others do beside the base, what they miss in bold; empty if nothing is said of it."""
    base = entries[min(section.base, len(entries) - 1)]
    others = [entry for entry in entries if entry is not base]
    if not others or not section.least:
        return ""
    head = row([f"as good as {base.title}", "at least", *(one.title for one in others)])
    rows = [
        row([MEASURES[key].title, f"{least:.2f}", *(ratio(one, least) for one in found)])
        for key, least in section.least.items()
        if any(found := [times_better(run, MEASURES[key], one.name, base.name) for one in others])
    ]
    return f"{head}|---|---:|{'---:|' * len(others)}\n{''.join(rows)}\n"


def _entries(run: Run, name: str) -> list[Entry]:
    return [entry for entry in run.entries if entry.section == name]
