"""Renders log lines for people: wrapped where stderr is a terminal, and coloured there unless NO_COLOR forbids it.

**Invariants**

- Only the first line of an event begins at the left edge. Everything below it is indented, wrapped lines and tracebacks
  too: no text of others looks like an event.
- Texts are escaped before they are wrapped, and coloured after it: neither kind of escape is broken by a line's end.
"""

from __future__ import annotations

import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TextIO

from structlog.typing import EventDict, WrappedLogger

from task_contracts import printable_text

VALUE_CHARS_MAX = 2_000
"""How many characters of one value are shown; JSON has all of them."""

_MULTILINE = ("stack", "exception")
"""Fields that are shown below the others, line by line."""

_LEFT_OUT = frozenset({"timestamp", "level", "event", "logger", "worker_id", *_MULTILINE})
"""What stands first, or last, or what a person at a terminal does not look for."""

_INDENT = 2
_COLUMNS_MIN = 30
"""With fewer columns lines are left to the terminal."""

_RESET, _BOLD, _DIM, _KEY, _VALUE = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[35m"
_COLOR_BY_LEVEL = {"debug": "\x1b[32m", "info": "\x1b[32m", "warning": "\x1b[33m"}
_RED = "\x1b[31m"

_UNBREAKABLE = re.compile(r"\\u[0-9a-f]{4}|\\.|.", re.DOTALL)
_NEEDS_QUOTES = re.compile(r"[\s=\"']|\A\Z")


def columns_of(stream: TextIO) -> int | None:
    """Return how many columns the terminal behind `stream` has now; None where there is none, or too few to wrap."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    return columns if columns >= _COLUMNS_MIN else None


Piece = tuple[str, str]
"""A colour, empty for none, and a text."""


class ConsoleRenderer:
    """Renders one event as `10:07:12 [info] attempt_ended seconds=0.02 task_id=…`; a traceback stands below it.

    A field that does not fit the line of a terminal begins a new one, and one that fits none is broken between words.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._has_colors = self._stream.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, logger: WrappedLogger, method: str, event_dict: EventDict) -> str:
        """Return the lines of an event, the last one without its newline."""
        del logger, method
        layout = _Layout(columns_of(self._stream))
        for field in _fields(event_dict):
            layout.add(*field)
        for text in (str(event_dict[key]) for key in _MULTILINE if event_dict.get(key)):
            for line in text.split("\n"):
                layout.begin_line()
                layout.add(("", printable_text(line)))
        return "".join(map(self._painted, layout.pieces))

    def _painted(self, piece: Piece) -> str:
        color, text = piece
        return f"{color}{text}{_RESET}" if color and self._has_colors else text


class _Layout:
    """Lines of at most `columns`; with None they are as long as they come."""

    def __init__(self, columns: int | None) -> None:
        self.pieces: list[Piece] = []
        self._columns = math.inf if columns is None else columns
        self._used = 0
        self._gap = ""

    def begin_line(self) -> None:
        """Begin a line below the first one."""
        self.pieces.append(("", "\n" + " " * _INDENT))
        self._used, self._gap = _INDENT, ""

    def add(self, *field: Piece) -> None:
        """Add a field: whole on this line or on the next one, else word by word."""
        cells = _cells(field)
        if self._has_room(cells):
            self._put(field, cells)
        elif _INDENT + cells <= self._columns:
            self.begin_line()
            self._put(field, cells)
        else:
            for word in _words(field):
                self._add_word(word)

    def _add_word(self, word: Sequence[Piece]) -> None:
        cells = _cells(word)
        if not self._has_room(cells) and self._gap:
            self.begin_line()
        if self._has_room(cells):
            self._put(word, cells)
            return
        for color, text in word:
            for character in _UNBREAKABLE.findall(text):
                self._add_character((color, character))
        self._gap = " "

    def _add_character(self, character: Piece) -> None:
        cells = _cells([character])
        if not self._has_room(cells):
            self.begin_line()
        self._put([character], cells)
        self._gap = ""

    def _has_room(self, cells: int) -> bool:
        return self._used + len(self._gap) + cells <= self._columns

    def _put(self, field: Sequence[Piece], cells: int) -> None:
        self.pieces += [("", self._gap), *field]
        self._used += len(self._gap) + cells
        self._gap = " "


def _fields(event_dict: EventDict) -> Iterator[Sequence[Piece]]:
    """Yield what is kept together where it can be: the time and the level, each word of the event, each field."""
    moment = datetime.fromisoformat(event_dict["timestamp"]).astimezone()
    level = str(event_dict["level"])
    yield [(_DIM, f"{moment:%H:%M:%S}"), ("", " ["), (_COLOR_BY_LEVEL.get(level, _RED), level), ("", "]")]
    for word in _shown(event_dict["event"]).split(" "):
        yield [(_BOLD, word)]
    for key in sorted(event_dict.keys() - _LEFT_OUT):
        value = event_dict[key]
        text = _quoted(_shown(value)) if isinstance(value, str) else _shown(value)
        yield [(_KEY, printable_text(key)), ("", "="), (_VALUE, text)]


def _words(field: Sequence[Piece]) -> list[list[Piece]]:
    words: list[list[Piece]] = [[]]
    for color, text in field:
        first, *others = text.split(" ")
        words[-1].append((color, first))
        words += [[(color, other)] for other in others]
    return words


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return printable_text(text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + "…")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', r"\"") + '"' if _NEEDS_QUOTES.search(text) else text


def _cells(field: Sequence[Piece]) -> int:
    """Return how many columns texts take: a Chinese character takes two."""
    return sum(
        len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
        for _, text in field
    )
