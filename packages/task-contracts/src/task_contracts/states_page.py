"""Writes the life cycle as a page to read, `docs/states.md`.

`python -m task_contracts.states_page docs/states.md` writes it. A test compares the page in the repository with the
table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from task_contracts._enums import TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, LIFECYCLE, Event, Transition

_BEGINNING = """\
# States of a task

Generated from `task_contracts.lifecycle`; do not edit. After a change there, generate it again:

    uv run python -m task_contracts.states_page docs/states.md
"""

_EVENTS = """\
## Events

Each event is one statement. It finds the row only in a status under "from" and only while every guard holds. It also
raises `version`.
"""

_COLUMNS = """\
## Columns

What a column holds in each status: – null, ● a value, ○ either. The CHECK constraints of the table `tasks` say the
same.
"""


def render() -> str:
    """Return the page as Markdown: a diagram, the table of events, the table of columns. Ends with a line break."""
    parts = (_BEGINNING, _diagram(), _EVENTS, _table_of_events(), _COLUMNS, _table_of_columns())
    return "\n".join(parts)


def _diagram() -> str:
    edges: dict[tuple[str, str], list[Event]] = {}
    for transition in LIFECYCLE.values():
        for edge in _edges(transition):
            edges.setdefault(edge, []).append(transition.event)
    arrows = (f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in edges.items())
    return "\n".join(("```mermaid", "stateDiagram-v2", *arrows, "```", ""))


def _edges(transition: Transition) -> Iterator[tuple[str, str]]:
    for source in _in_order(transition.sources) or ["[*]"]:
        yield source, "[*]" if transition.event is Event.PURGE else transition.target or source


def _table_of_events() -> str:
    rows = (
        (
            transition.event,
            ", ".join(_in_order(transition.sources)) or "–",
            "(gone)" if transition.event is Event.PURGE else transition.target or "(same)",
            transition.by,
            "; ".join(transition.guards),
            "; ".join(transition.writes),
        )
        for transition in LIFECYCLE.values()
    )
    return _table(("event", "from", "to", "by", "guards", "also writes"), rows)


def _table_of_columns() -> str:
    rows = ((f"`{column}`", *(rule[status] for status in TaskStatus)) for column, rule in COLUMN_RULES.items())
    return _table(("column", *TaskStatus), rows)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ("---",) * len(heads), *rows))


def _in_order(statuses: Iterable[TaskStatus]) -> list[str]:
    return [status for status in TaskStatus if status in set(statuses)]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8", newline="\n")
