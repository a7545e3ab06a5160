"""Reads and changes a CHANGELOG.md: first what is unreleased, then a section for each release, the newest first.

# Changelog of task-client

## Unreleased

## 0.2.0 (2026-11-25)

- What its users notice.
"""

from __future__ import annotations

import re
from datetime import date

UNRELEASED = "## Unreleased"


class ChangelogError(Exception):
    """The text does not have the form above."""


def entries(text: str, title: str = "Unreleased") -> str:
    """Return the entries under the heading that begins with `title`, such as a version; empty if there are none.

    Raises:
        ChangelogError: the first section is not the unreleased one.

    """
    _, *sections = _blocks(text)
    return next((_body(section) for section in sections if section.split()[1] == title), "")


def with_entry(text: str, entry: str) -> str:
    """Return the changelog with one more unreleased entry, below the others.

    Raises:
        ChangelogError: the first section is not the unreleased one.

    """
    title, unreleased, *released = _blocks(text)
    kept = f"{_body(unreleased)}\n{entry}".strip()
    return _text(title, UNRELEASED, kept, *released)


def with_release(text: str, version: str, day: date) -> str:
    """Return the changelog with its unreleased entries under the heading of a release.

    Raises:
        ChangelogError: the first section is not the unreleased one.

    """
    title, unreleased, *released = _blocks(text)
    return _text(title, UNRELEASED, f"## {version} ({day})", _body(unreleased), *released)


def _blocks(text: str) -> list[str]:
    """Return the title and the sections, the unreleased one first."""
    blocks = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    if len(blocks) < 2 or blocks[1].splitlines()[0] != UNRELEASED:
        raise ChangelogError(f"the topmost section of {blocks[0].strip()!r} is not {UNRELEASED!r}")
    return blocks


def _body(section: str) -> str:
    """Return a section without its heading."""
    return section.partition("\n")[2].strip()


def _text(*blocks: str) -> str:
    """Return a file of these blocks, an empty line between them."""
    return "\n\n".join(block.strip() for block in blocks) + "\n"
