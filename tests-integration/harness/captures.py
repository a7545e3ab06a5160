"""Captures of a command line in a page: what was typed, and what stood on the screen then.

A capture made today differs from the page's in ids, times, counts and widths. So they are compared in shape: all of
these are one, and ids that stand in one place are the same task, which later lines of the page name by its id there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){1,3}(?:-[0-9a-f]{1,12})?\b|\b[0-9a-f]{16}\b")
"""An id or its beginning, or a fingerprint."""
_MASKS = (
    (_ID, "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)"), "TIME"),
    (re.compile(r"\b\d\d?:\d\d:\d\d\b"), "CLOCK"),
    (re.compile(r"\b\d+(?:\.\d+)?[smhd](?: \d+[smhd])?(?: ago)?(?![\w.])"), "SPAN"),
    (re.compile(r"\d+(?:\.\d+)*"), "N"),
    (re.compile(r"━+[╸╺]?━*"), "BAR"),
    (re.compile(r"\S*…"), "…"),
    (re.compile(r"\s+"), " "),
)

_MARKS = re.compile(r"[ |~^]*[~^]")
"""Below a line of a traceback; each version of Python sets its own."""


@dataclass(frozen=True)
class Capture:
    """A line that was typed (with its continuations), and the lines that followed."""

    typed: str
    shown: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it, after the prompt."""
        return "\n".join([self.typed, *self.shown])


def shape(lines: Sequence[str]) -> list[str]:
    """Return lines without what differs from run to run; lines that are then alike and neighbours are one."""
    shapes: list[str] = []
    for line in lines:
        for pattern, word in _MASKS:
            line = pattern.sub(word, line)
        if shapes[-1:] != [line] and not _MARKS.fullmatch(line):
            shapes.append(line)
    return shapes


def captures(page: str, command: str) -> Iterator[Capture]:
    """Yield the captures of a page that call `command` and show what it said."""
    for block in _BLOCK.findall(page):
        found = [_capture(part) for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
        if any(one.shown for one in found):
            yield from (one for one in found if one.typed.startswith(f"{command} "))


def rewritten(page: str, today: Sequence[tuple[Capture, Capture]]) -> str:
    """Return the page with what is typed and shown today in the place of each of its captures."""
    for here, there in today:
        page = page.replace(f"$ {here.text}\n", f"$ {there.text}\n", 1)
    return page


def _capture(part: str) -> Capture:
    lines = part.rstrip("\n").split("\n")
    count = next(n for n, line in enumerate(lines, start=1) if not line.endswith("\\"))
    return Capture("\n".join(lines[:count]), tuple(lines[count:]))


@dataclass
class Names:
    """Which id of today stands for which one of the page."""

    today_by_page: dict[str, str] = field(default_factory=dict)

    def learn(self, page: Sequence[str], today: Sequence[str]) -> None:
        """Take in two captures of one shape."""
        for here, there in zip(page, today, strict=False):
            self.today_by_page.update(zip(_ID.findall(here), _ID.findall(there), strict=False))

    def today(self, typed: str) -> str:
        """Return a line with the ids of today in the place of the page's."""
        return _ID.sub(self._one, typed)

    def _one(self, found: re.Match[str]) -> str:
        for here, there in self.today_by_page.items():
            if here.startswith(found[0]):
                return there[: len(found[0])]
        return found[0]
