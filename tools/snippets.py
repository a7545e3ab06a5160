"""Writes the Python blocks of pages as modules, so that type checkers read them as callers would."""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def write_snippets(page: Path, folder: Path) -> Path:
    """Write all Python blocks of a page, one after the other, as a module in `folder`, and return its path."""
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    path = folder / f"{page.parent.name}_{page.stem}.py".replace("-", "_").lower()
    path.write_text("\n\n".join(["from __future__ import annotations", *blocks]))
    return path
