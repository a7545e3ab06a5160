"""Files of tasks to create: JSON Lines and CSV, read twice, so that a wrong line is found before anything is created.

JSON Lines: an object a line, with the fields of a task. CSV: a heading names the fields; `label.KEY` is a label,
`payload` a JSON object, `payload.KEY` a text in it and `payload.KEY:json` any JSON in it; an empty cell is left out.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._values import printable

if TYPE_CHECKING:
    from task_client import TaskCreate

_SHOWN_MAX = 20
"""Wrong lines that are named; of more, only the number is said."""
_MESSAGE_CHARS_MAX = 300
_CELL_CHARS_MAX = 2 << 20
_SPOOLED_BYTES = 16 << 20


class FileFormat(StrEnum):
    """How tasks stand in a file."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass
class WrongLines:
    """What is wrong with a file, by line."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, line: int, message: str) -> None:
        """Note a wrong line; of many, the first ones. The message may have parts of the file in it."""
        self.count += 1
        if len(self.shown) < _SHOWN_MAX:
            said = printable(message[:_MESSAGE_CHARS_MAX]) + "…" * (len(message) > _MESSAGE_CHARS_MAX)
            self.shown.append(f"line {line}: {said}")


@dataclass(frozen=True)
class TaskFile:
    """A file whose tasks are all valid. The digest is of its bytes, the count of its tasks."""

    file: BinaryIO
    format: FileFormat
    defaults: dict[str, Any]
    count: int
    digest: str

    def tasks(self) -> Iterator[TaskCreate]:
        """Yield the tasks, read again.

        Raises:
            CommandError: the file has changed meanwhile and is wrong now.

        """
        wrong = WrongLines()
        for task in _read(self.file, self.format, self.defaults, wrong):
            if wrong.count:
                break
            yield task
        _refuse(wrong)


@contextmanager
def checked(place: str, format_: FileFormat | None, defaults: dict[str, Any]) -> Iterator[TaskFile]:
    """Open a file, or stdin for `-`, and check every line of it; `defaults` are fields for tasks that lack them.

    Raises:
        CommandError: it cannot be read, or lines are wrong: they are named by number.

    """
    chosen = format_ or (FileFormat.CSV if Path(place).suffix.lower() == ".csv" else FileFormat.JSONL)
    with _opened(place) as file:
        digest = hashlib.sha256(json.dumps([chosen.value, defaults], sort_keys=True, default=str).encode())
        wrong = WrongLines()
        count = sum(1 for _ in _read(file, chosen, defaults, wrong, digest.update))
        _refuse(wrong)
        yield TaskFile(file, chosen, defaults, count, digest.hexdigest())


def _refuse(wrong: WrongLines) -> None:
    if not wrong.count:
        return
    more = f"\nand {wrong.count - len(wrong.shown)} more" if wrong.count > len(wrong.shown) else ""
    said = "\n".join(wrong.shown)
    lines = "1 line is wrong" if wrong.count == 1 else f"{wrong.count} lines are wrong"
    raise CommandError(ExitCode.USAGE, f"nothing was created, {lines}:\n{said}{more}", is_multiline=True)


@contextmanager
def _opened(place: str) -> Iterator[BinaryIO]:
    if place == "-":
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as copy:
            while block := sys.stdin.buffer.read(1 << 20):
                copy.write(block)
            yield copy  # type: ignore[misc] # it has what is used of a file
        return
    try:
        file = Path(place).open("rb")  # noqa: SIM115 # closed below; what fails while it is used is not about opening
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{place} cannot be read: {error.strerror}") from error
    with file:
        if not file.seekable():
            raise CommandError(ExitCode.USAGE, f"{place} is read twice, so it must be a file; pass - for a pipe")
        yield file


def _read(
    file: BinaryIO,
    format_: FileFormat,
    defaults: dict[str, Any],
    wrong: WrongLines,
    take: Callable[[bytes], object] = len,
) -> Iterator[TaskCreate]:
    """Yield the valid tasks of a file from its beginning; `take` gets its bytes."""
    file.seek(0)
    rows = _json_rows if format_ is FileFormat.JSONL else _csv_rows
    for line, fields in rows(_lines(file, wrong, take), wrong):
        task = _task({**defaults, **fields}, line, wrong)
        if task is not None:
            yield task


def _lines(file: BinaryIO, wrong: WrongLines, take: Callable[[bytes], object]) -> Iterator[str]:
    from task_contracts import limits

    longest = 2 * limits.BODY_BYTES
    number = 0
    while raw := file.readline(longest):
        number += 1
        take(raw)
        if len(raw) == longest:
            wrong.add(number, f"is longer than {longest} bytes; the rest was not looked at")
            return
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            wrong.add(number, "is not UTF-8")
            yield "\n"  # so that the numbers of the lines after it are right


def _json_rows(lines: Iterator[str], wrong: WrongLines) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            wrong.add(number, f"is no JSON: {error}")
            continue
        if isinstance(fields, dict):
            yield number, fields
        else:
            wrong.add(number, "is no JSON object")


def _csv_rows(lines: Iterator[str], wrong: WrongLines) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_CELL_CHARS_MAX)
    reader = csv.reader(lines, strict=True)
    heading: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not heading:
                heading = [name.strip() for name in cells]
                if twice := _twice(heading):
                    wrong.add(line, f"the heading has {', '.join(twice)} twice")
                    return
            elif cells:
                fields = _fields_of(heading, cells, line, wrong)
                if fields is not None:
                    yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        wrong.add(line, f"is no CSV: {error}")


def _twice(heading: list[str]) -> list[str]:
    """Return the fields that several cells of a heading name, each in its plain form; empty cells name none."""
    named = Counter(
        re.sub(r"^labels\.", "label.", name.removesuffix(":json") if name.startswith("payload.") else name)
        for name in heading
        if name
    )
    return [name for name, count in named.items() if count > 1]


def _fields_of(heading: list[str], cells: list[str], line: int, wrong: WrongLines) -> dict[str, Any] | None:
    if len(cells) != len(heading):
        wrong.add(line, f"has {len(cells)} cells, the heading {len(heading)}")
        return None
    fields: dict[str, Any] = {}
    try:
        for name, cell in zip(heading, cells, strict=True):
            if cell:
                _put(fields, name, cell)
    except ValueError as error:
        wrong.add(line, str(error))
        return None
    return fields


def _put(fields: dict[str, Any], name: str, cell: str) -> None:
    kind, dot, key = name.partition(".")
    if dot and kind in {"label", "labels"}:
        fields.setdefault("labels", {})[key] = cell
    elif dot and kind == "payload":
        is_json = key.endswith(":json")
        value = _parsed(cell, name) if is_json else cell
        fields.setdefault("payload", {})[key.removesuffix(":json")] = value
    elif name in {"payload", "labels"}:
        found = _parsed(cell, name)
        if not isinstance(found, dict):
            raise ValueError(f"{name} is no JSON object")
        fields[name] = {**found, **fields.get(name, {})}
    elif name in {"timeout_seconds", "max_attempts"}:
        fields[name] = _parsed(cell, name)
    else:
        fields[name] = cell


def _parsed(cell: str, name: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is no JSON") from None


def _task(fields: dict[str, Any], line: int, wrong: WrongLines) -> TaskCreate | None:
    from pydantic import ValidationError

    from task_client import TaskCreate
    from task_contracts import limits

    try:
        task = TaskCreate.model_validate(fields, strict=False)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:3])
        wrong.add(line, said.replace("Value error, ", ""))
        return None
    if len(task.model_dump_json(exclude_unset=True).encode()) > limits.BODY_BYTES:
        wrong.add(line, f"is larger than {limits.BODY_BYTES} bytes")
        return None
    return task
