"""What is printed: data on stdout, words for people on stderr, nothing unescaped.

On a terminal a list is a table that fits its width; elsewhere its lines are values separated by tabs, whole and without
a heading, for `cut` and `awk`. `--json` and `--jsonl` are the same in both places.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from task_client_cli._values import printable, value_text

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


class Output:
    """Prints in one format. Where stdout cannot be written, each method raises what `_streams` says."""

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

    def say(self, text: str, *, is_multiline: bool = False) -> None:
        """Tell people something, on stderr, on one line; a progress bar that is shown stays below it.

        `is_multiline` is for text that has lines of its own. What others wrote must be escaped before it is put into
        such, or it could pass for one of the lines.
        """
        line = printable(text, is_multiline=is_multiline)
        if self._err is None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        else:
            from rich.text import Text

            self._err.print(Text(line), soft_wrap=True)

    def line(self, text: str, *, is_multiline: bool = False) -> None:
        """Print one line of data; with `is_multiline`, text that has lines of its own."""
        self._write(f"{printable(text, is_multiline=is_multiline)}\n")

    def one(self, model: BaseModel | Mapping[str, object]) -> None:
        """Print a model as JSON, on a line of its own or indented."""
        self._write(f"{_json(model, indent=None if self.format is Format.JSONL else 2)}\n")

    def many(
        self, models: Iterable[BaseModel | Mapping[str, object]], columns: Sequence[Column], nothing: str = "nothing"
    ) -> None:
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
        """Hand everything over."""
        sys.stdout.flush()

    def _array(self, models: Iterable[BaseModel | Mapping[str, object]]) -> None:
        before = "["
        for model in models:
            self._write(f"{before}\n{_json(model, indent=2)}")
            before = ","
        self._write("[]\n" if before == "[" else "\n]\n")

    def _table(
        self, models: Iterable[BaseModel | Mapping[str, object]], columns: Sequence[Column], nothing: str
    ) -> None:
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

    def _row(self, model: object, columns: Sequence[Column]) -> None:
        from task_client_cli._tables import cells

        self._write("\t".join(map(printable, cells(model, columns, is_terminal=False))) + "\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)


def _json(model: BaseModel | Mapping[str, object], indent: int | None = None) -> str:
    fields = model if isinstance(model, Mapping) else model.model_dump(mode="json")
    text = json.dumps(fields, ensure_ascii=False, indent=indent)
    return printable(text, is_multiline=True)
