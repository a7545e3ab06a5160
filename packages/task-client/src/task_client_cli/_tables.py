"""Tables that fit a terminal: columns that matter less go first, then the last one is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from task_client_cli._values import printable, value_text

_GAP = "  "
_SHORT_ID_CHARS = 28
"""As much of an id as its time and its counter take: ids that were made in one millisecond differ in the counter's last
digits, so a shorter beginning would stand for a whole batch of tasks."""
_STYLE_BY_WORD = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "IN_PROGRESS": "cyan",
}


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it shows of a model, and how much it matters (columns of a high `rank` go first).

    The last one stays as wide as it needs to be, up to `stays` characters of one cell, while others can go.
    """

    heading: str
    show: Callable[[Any], object]
    rank: int = 0
    is_number: bool = False
    is_id: bool = False
    stays: int = 24


def cells(model: Any, columns: Sequence[Column], *, is_terminal: bool = True) -> list[str]:
    """Return what all columns show of a model."""
    return [value_text(column.show(model), is_terminal=is_terminal) for column in columns]


def lay_out(models: Sequence[Any], columns: Sequence[Column], width: int) -> list[Text]:
    """Return the lines of a table, heading first, none wider than `width`."""
    rows = [[printable(text) for text in cells(model, columns)] for model in models]
    places = [*range(len(columns))]
    widths = [max([cell_len(column.heading), *(cell_len(row[n]) for row in rows)]) for n, column in enumerate(columns)]
    if _total(widths, places) > width:
        for n, column in enumerate(columns):
            if column.is_id:
                widths[n] = min(widths[n], _SHORT_ID_CHARS)
                for row in rows:
                    row[n] = row[n][:_SHORT_ID_CHARS]
    for n in sorted(places, key=lambda n: -columns[n].rank):
        others = _total(widths, places[:-1]) + len(_GAP) + min(widths[places[-1]], columns[places[-1]].stays)
        if columns[n].rank == 0 or others <= width:
            break
        places.remove(n)
    last = places[-1]
    widths[last] = max(1, min(widths[last], width - _total(widths, places) + widths[last]))
    heading = Text(_line([column.heading for column in columns], columns, places, widths), style="bold")
    heading.truncate(width)
    return [heading, *(_styled(_line(row, columns, places, widths), row, width) for row in rows)]


def print_table(models: Sequence[Any], columns: Sequence[Column]) -> None:
    """Print a table on the terminal."""
    console = Console()
    for line in lay_out(models, columns, console.width):
        console.print(line, no_wrap=True, crop=True)


def _total(widths: Sequence[int], places: Sequence[int]) -> int:
    return sum(widths[n] for n in places) + len(_GAP) * max(len(places) - 1, 0)


def _line(texts: Sequence[str], columns: Sequence[Column], places: Sequence[int], widths: Sequence[int]) -> str:
    return _GAP.join(_fitted(texts[n], widths[n], columns[n].is_number) for n in places).rstrip()


def _fitted(text: str, width: int, is_number: bool) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - cell_len(text)) + text if is_number else set_cell_size(text, width)


def _styled(line: str, row: Sequence[str], width: int) -> Text:
    text = Text(line)
    text.truncate(width)
    for word in row:
        if style := _STYLE_BY_WORD.get(word):
            text.highlight_words([word], style)
    return text
