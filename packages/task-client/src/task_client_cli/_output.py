"""What is printed: data on stdout, words for people on stderr, nothing unescaped.

On a terminal a list is a table that fits its width; elsewhere its lines are values separated by tabs, whole and without
a heading, for `cut` and `awk`. `--json` and `--jsonl` are the same in both places.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from task_client_cli._times import age_text, span_text

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from task_client_cli._tables import Column

_ROWS_AT_ONCE = 200
"""Rows of a terminal's table that are laid out together, so that a long list begins at once."""


class Format(Enum):
    """How data is printed."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class ReaderGoneError(Exception):
    """Whoever read stdout has gone, such as `head`: nobody wants the rest."""


class Output:
    """Prints in one format."""

    def __init__(self, format_: Format) -> None:
        self.format = format_
        self._err: Console | None = None
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # an ASCII terminal must not end the command

    @property
    def is_text(self) -> bool:
        """Whether people read it."""
        return self.format is Format.TEXT

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.stdout.isatty()

    @property
    def err(self) -> Console:
        """The console of stderr, for progress."""
        if self._err is None:
            from rich.console import Console

            self._err = Console(stderr=True)
        return self._err

    def say(self, text: str) -> None:
        """Tell people something, on stderr; a progress bar that is shown stays below it."""
        line = printable(text, is_multiline=True)
        if self._err is None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        else:
            from rich.text import Text

            self._err.print(Text(line), soft_wrap=True)

    def line(self, text: str, *, is_multiline: bool = False) -> None:
        """Print one line of data; with `is_multiline`, text that has lines of its own.

        Raises:
            ReaderGoneError: nobody reads any more.

        """
        self._write(f"{printable(text, is_multiline=is_multiline)}\n")

    def one(self, model: BaseModel) -> None:
        """Print a model as JSON, on a line of its own or indented."""
        self._write(f"{_json(model, indent=None if self.format is Format.JSONL else 2)}\n")

    def many(self, models: Iterable[BaseModel], columns: Sequence[Column], nothing: str = "nothing") -> None:
        """Print a list as it comes: a table, or JSON. Of an empty one, people are told `nothing`."""
        match self.format:
            case Format.JSONL:
                for model in models:
                    self._write(f"{_json(model)}\n")
            case Format.JSON:
                self._array(models)
            case Format.TEXT:
                self._table(models, columns, nothing)

    def each(self, models: Iterable[BaseModel], columns: Sequence[Column]) -> None:
        """Print models of a list that goes on: a line of values, or of JSON, each."""
        for model in models:
            if self.is_text:
                self._row(model, columns)
            else:
                self._write(f"{_json(model)}\n")

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print names and values, one pair a line; what is None is left out."""
        shown = [(name, self._field_text(value)) for name, value in pairs if value is not None]
        widest = max((len(name) for name, _ in shown), default=0)
        for name, text in shown:
            value = printable(text)
            self._write(f"{name:<{widest}}  {value}\n" if self.is_terminal else f"{name}\t{value}\n")

    def _field_text(self, value: object) -> str:
        text = value_text(value, is_terminal=self.is_terminal)
        if isinstance(value, datetime) and self.is_terminal:
            return f"{value.isoformat(timespec='seconds')} ({text})"
        return text

    def flush(self) -> None:
        """Hand everything over.

        Raises:
            ReaderGoneError: nobody reads any more.

        """
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            self._give_up()

    def _array(self, models: Iterable[BaseModel]) -> None:
        before = "["
        for model in models:
            self._write(f"{before}\n{_json(model, indent=2)}")
            before = ","
        self._write("[]\n" if before == "[" else "\n]\n")

    def _table(self, models: Iterable[BaseModel], columns: Sequence[Column], nothing: str) -> None:
        from task_client_cli import _tables as tables

        rows, any_yet = [], False
        for model in models:
            any_yet = True
            if not self.is_terminal:
                self._row(model, columns)
                continue
            rows.append(model)
            if len(rows) == _ROWS_AT_ONCE:
                tables.print_table(rows, columns)
                rows = []
        if rows:
            tables.print_table(rows, columns)
        if not any_yet:
            self.say(nothing)

    def _row(self, model: BaseModel, columns: Sequence[Column]) -> None:
        from task_client_cli._tables import cells

        self._write("\t".join(map(printable, cells(model, columns, is_terminal=False))) + "\n")

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        # Python writes what is left at its end, which would fail again, with a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReaderGoneError


def printable(text: str, *, is_multiline: bool = False) -> str:
    """Return text of others so that it cannot drive a terminal."""
    from task_contracts import printable_text

    return printable_text(text, is_multiline=is_multiline)


class Span(float):
    """Seconds: on a terminal as people say them, elsewhere as a number."""

    @classmethod
    def of(cls, seconds: float | None) -> Span | None:
        """Return seconds as a span; None if there are none."""
        return None if seconds is None else cls(seconds)


def value_text(value: object, *, is_terminal: bool = True) -> str:
    """Return a value as it is printed; objects and lists as JSON. On a terminal, times are ages."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return age_text(value) if is_terminal else value.isoformat()
        case Span():
            return span_text(value) if is_terminal else f"{value:.3f}"
        case float():
            return f"{value:g}"
        case Enum():
            return str(value.value)
        case dict() | list() | tuple():
            return dumped(value)
        case _:
            return str(value)


def _json(model: BaseModel, indent: int | None = None) -> str:
    text = json.dumps(model.model_dump(mode="json"), ensure_ascii=False, indent=indent)
    return printable(text, is_multiline=True)


def dumped(value: Any) -> str:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
