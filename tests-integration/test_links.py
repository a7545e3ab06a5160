"""Links between the documents lead somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an image lacks some of the folders that documents link to")
def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page in _documents()
        for target, anchor in _links(page)
        if not _leads_somewhere(page.parent / target if target else page, anchor)
    ]

    assert not broken


def _documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


def _links(page: Path) -> Iterator[tuple[str, str]]:
    yield from ((found[1], found[2] or "") for found in _LINK.finditer(_CODE.sub("", page.read_text())))


def _leads_somewhere(path: Path, anchor: str) -> bool:
    if not anchor:
        return path.exists()
    return path.is_file() and anchor in {
        _anchor(found[1]) for found in _HEADING.finditer(_CODE.sub("", path.read_text()))
    }


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
