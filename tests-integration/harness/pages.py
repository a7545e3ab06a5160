"""The pages of docs/, as tests read them: their tables and their blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Page:
    """One page, in Markdown."""

    text: str

    @classmethod
    def read(cls, name: str) -> Page:
        """Return a page of docs/ by its name."""
        return cls((DOCS / name).read_text(encoding="utf-8"))

    def blocks(self, language: str) -> list[str]:
        """Return the blocks of code of a language, in their order."""
        return [block[2] for block in _BLOCK.finditer(self.text) if block[1] == language]

    def rows(self, *, first: str) -> list[dict[str, str]]:
        """Return the rows of all tables whose first column is called `first`, each by the names of its columns."""
        return [row for table in self._tables() if next(iter(table[0])) == first for row in table]

    def _tables(self) -> Iterator[list[dict[str, str]]]:
        for lines in re.findall(r"(?:^\|.*\|$\n?)+", self.text, re.MULTILINE):
            header, _, *rows = [_cells(line) for line in lines.splitlines()]
            if rows:
                yield [dict(zip(header, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip())[1:-1]]


def quoted(cell: str) -> str:
    """Return what stands in the first pair of backticks of a cell."""
    found = re.search(r"`([^`]+)`", cell)
    assert found is not None, f"nothing is quoted in {cell!r}"
    return found[1]
