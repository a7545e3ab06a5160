"""The life cycle as a page for people: `docs/states.md`.

`python -m task_contracts.states_page docs/states.md` writes it; a test holds the written page against the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from task_contracts._enums import TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, LIFECYCLE, Event, Transition

_BEGINNING = """\
# States of a task

Generated from `task_contracts.lifecycle`; do not edit. After a change there, write it anew:

    uv run python -m task_contracts.states_page docs/states.md
"""

_EVENTS = """\
## Events

Each event is one statement. It finds the row only in a status of "from" and while every guard holds, and also raises
`version`.
"""

_COLUMNS = """\
## Columns

What may stand in a row: – nothing, ● a value, ○ either. The CHECK constraints of the table `tasks` say the same.
"""


def render() -> str:
    """Return the page as Markdown: a diagram, the table of events, the table of columns. Ends with a line break."""
    parts = (_BEGINNING, _diagram(), _EVENTS, _table_of_events(), _COLUMNS, _table_of_columns())
    return "\n".join(parts)


def _diagram() -> str:
    edges: dict[tuple[str, str], list[Event]] = {}
    for line in LIFECYCLE.values():
        for edge in _edges(line):
            edges.setdefault(edge, []).append(line.event)
    arrows = (f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in edges.items())
    return "\n".join(("```mermaid", "stateDiagram-v2", *arrows, "```", ""))


def _edges(line: Transition) -> Iterator[tuple[str, str]]:
    for source in _in_order(line.sources) or ["[*]"]:
        yield source, "[*]" if line.event is Event.PURGE else line.target or source


def _table_of_events() -> str:
    lines = (
        (
            line.event,
            ", ".join(_in_order(line.sources)) or "–",
            "(gone)" if line.event is Event.PURGE else line.target or "(same)",
            line.by,
            "; ".join(line.guards),
            "; ".join(line.writes),
        )
        for line in LIFECYCLE.values()
    )
    return _table(("event", "from", "to", "by", "guards", "also writes"), lines)


def _table_of_columns() -> str:
    lines = ((f"`{column}`", *(rule[status] for status in TaskStatus)) for column, rule in COLUMN_RULES.items())
    return _table(("column", *TaskStatus), lines)


def _table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    rows = (heads, ("---",) * len(heads), *lines)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _in_order(statuses: Iterable[TaskStatus]) -> list[str]:
    return [status for status in TaskStatus if status in set(statuses)]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8", newline="\n")
