"""Where handlers are: modules, files and folders, as TASK_WORKER_HANDLERS names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Places: TypeAlias = str | Sequence[str]
"""Places separated by commas, or the list that `resolve_places` made of them. The names of modules stay as they are."""


def resolve_places(places: Places) -> tuple[str, ...]:
    """Return the places, those of files and folders absolute. Repeating it changes nothing.

    Do it once, before code of users runs: that may change the current folder.
    """
    names = [part.strip() for part in places.split(",")] if isinstance(places, str) else places
    return tuple(str(Path(name).absolute()) if is_path(name) else name for name in names if name)


def is_path(place: str) -> bool:
    """Return whether a place is a file or a folder, and not a module."""
    return place.endswith(".py") or "/" in place or Path(place).is_dir()
